//! Standard input and output for archives: much data, usually through pipes.

use std::fs::File;
use std::io::{self, Stdin};
use std::os::fd::AsFd;

use ocitar::error::{Error, Result};

/// Bytes a pipe is asked to hold: the most that anyone may have, and sixteen times
/// the usual. Both ends then wait for each other less often.
const PIPE: usize = 1 << 20;

/// Standard input.
pub fn stdin() -> Stdin {
    let input = io::stdin();
    widen(&input);
    input
}

/// Standard output, without the buffer that breaks every write at its last line.
///
/// # Errors
///
/// `E_IO` when it is closed.
pub fn stdout() -> Result<File> {
    let output = io::stdout();
    widen(&output);
    let output = output.as_fd().try_clone_to_owned();
    Ok(output.map_err(|e| Error::io("standard output", e))?.into())
}

fn widen(end: &impl AsFd) {
    // What is no pipe has no size, and what is refused stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(end, PIPE);
}
