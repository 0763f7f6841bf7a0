//! x
pub mod compress;
pub mod diagnostics;
pub mod error;
mod json;
pub mod limits;
pub mod source;
pub mod tarball;
pub mod text;
