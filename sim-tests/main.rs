//! Tests of the simulation build: `cargo sim-test`.
#![cfg(madsim)]

mod tidy;
mod world;
