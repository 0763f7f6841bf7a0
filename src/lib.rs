//! x
pub mod archive;
pub mod compress;
pub mod diagnostics;
pub mod digest;
pub mod error;
mod json;
pub mod limits;
pub mod media_type;
pub mod platform;
pub mod reference;
pub mod source;
pub mod tarball;
pub mod text;
