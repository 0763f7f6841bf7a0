//! Standard input and output for archives: much data, usually through pipes.

use std::fs::{File, Metadata};
use std::io::{self, Stdin};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ocitar::error::{Code, Error, Result};

/// Bytes a pipe is asked to hold: the most that anyone may have, and sixteen times
/// the usual. Both ends then wait for each other less often.
const PIPE: usize = 1 << 20;

/// Standard input.
pub fn stdin() -> Stdin {
    let input = io::stdin();
    widen(&input);
    input
}

/// Standard output for an archive made of these, without the buffer that breaks every
/// write at its last line.
///
/// # Errors
///
/// `E_OUT_SAME` when it is one of the inputs, `E_IO` when it is closed.
pub fn stdout<'p>(inputs: impl IntoIterator<Item = &'p Path>) -> Result<File> {
    let fail = |e| Error::io("standard output", e);
    let output = io::stdout();
    widen(&output);
    let output = File::from(output.as_fd().try_clone_to_owned().map_err(fail)?);
    let own = output.metadata().map_err(fail)?;
    let is_own = |path: &&Path| {
        let input = if *path == Path::new("-") { file_of(&io::stdin()) } else { path.metadata() };
        input.is_ok_and(|input| (input.dev(), input.ino()) == (own.dev(), own.ino()))
    };
    if own.is_file()
        && let Some(input) = inputs.into_iter().find(is_own)
    {
        let message = "standard output is the input, or a part of it";
        return Err(Error::new(Code::OutSame, message).in_archive(input.display().to_string()));
    }
    Ok(output)
}

fn file_of(end: &impl AsFd) -> io::Result<Metadata> {
    File::from(end.as_fd().try_clone_to_owned()?).metadata()
}

fn widen(end: &impl AsFd) {
    // What is no pipe has no size, and what is refused stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(end, PIPE);
}
