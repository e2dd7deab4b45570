//! The load of `benches/groups`: members of groups that speak to one broker, without what a client library does besides.
//!
//!     load BROKER fill|commits|death|heartbeats|rebalance|fetch PROTOCOL ...      see `work::main`
//!
//! Prints a number: commits a second, milliseconds, or the seconds of processor time that this program has used.

#[cfg(not(madsim))]
mod member;
#[cfg(not(madsim))]
mod work;

#[cfg(not(madsim))]
fn main() {
    work::main();
}

/// The simulation has no real brokers.
#[cfg(madsim)]
fn main() {}
