//! What is on disk when something goes wrong: whatever it is, the destination is the old file or the complete new one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod changed;
mod destinations;
mod faults;
mod kernel;
mod promises;
#[path = "../support/mod.rs"]
mod support;

/// What the tests rename to.
const NEW: &str = "registry.example.com/new:v9";
