//! Tests of the deployment build: `cargo test --test deployment`.
#![cfg(not(madsim))]

mod storage;
