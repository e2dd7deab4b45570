//! Consumer groups, as a member sees them.
pub mod assignor;
pub mod subscription;
