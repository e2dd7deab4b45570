//! The seam on madsim's executor, with our own simulated TCP and disk.
