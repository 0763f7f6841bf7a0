//! How long work tells what it does, and is told to stop.

use crate::error::{Code, Error, Result};

/// Hears about bytes going by, and may end the work.
///
/// Called from any thread. Implementations should be cheap: a call stands for
/// at most a few MiB.
pub trait Progress: Sync {
    /// Work on this many bytes begins.
    fn begin(&self, total: u64) {
        let _ = total;
    }

    /// This many more bytes are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Whether to stop: the work ends with `E_INTERRUPTED` and leaves nothing
    /// behind.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Hears nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Counts bytes and looks whether to stop.
pub(crate) fn advance(progress: &dyn Progress, bytes: u64) -> Result<()> {
    progress.advance(bytes);
    if progress.is_cancelled() {
        return Err(Error::new(Code::Interrupted, "interrupted"));
    }
    Ok(())
}
