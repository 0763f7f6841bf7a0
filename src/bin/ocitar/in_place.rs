//! `ocitar retag --in-place`: where the output is the input.

use std::path::Path;

use ocitar::error::{Code, Error, Result};
use ocitar::plan::Plan;
use ocitar::text::{printable, size};
use ocitar::write::{InPlace, WriteOptions, Written};

use crate::args::{How, Retag};
use crate::output::Printer;

impl From<How> for InPlace {
    fn from(how: How) -> InPlace {
        match how {
            How::Atomic => InPlace::Atomic,
            How::Journal => InPlace::Journal,
        }
    }
}

/// Says what speaks against it before anything is read.
pub fn check(verb: &Retag) -> Result<()> {
    let Some(how) = verb.in_place else { return Ok(()) };
    if verb.input == Path::new("-") {
        return Err(Error::new(Code::Usage, "standard input cannot be edited in place"));
    }
    InPlace::from(how).check(&verb.input)
}

/// Writes the plan over its input, and says what is not as one might expect.
pub fn write(
    plan: &Plan,
    input: &Path,
    how: How,
    options: &WriteOptions<'_>,
    printer: &Printer,
) -> Result<Written> {
    let done = plan.write_in_place(input, how.into(), options)?;
    let name = input.display().to_string();
    let warn = |text: &str| printer.say(&format!("warning: {}: {text}", printable(&name)));
    if done.fell_back {
        let most = size(InPlace::MOST);
        warn(&format!("more than {most} would have to change, so the file was replaced instead"));
    }
    match done.links_left {
        0 => {}
        1 => warn("another hard link still leads to the old file"),
        many => warn(&format!("{many} other hard links still lead to the old file")),
    }
    Ok(done.written)
}
