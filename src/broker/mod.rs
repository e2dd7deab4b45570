//! One node: composes the cores into a broker - configuration, lifecycle, requests, replicas.

pub mod config;
