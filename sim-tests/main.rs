//! Tests of the simulation build: `cargo sim-test`.
#![cfg(madsim)]

mod catalogue;
mod command;
mod damage;
mod deleted;
mod determinism;
mod exit_codes;
mod offsets;
mod planted;
mod readme;
mod stories;
mod tidy;
mod words;
mod world;
