//! `ocitar retag` of a pipe or a compressed file: one pass.

use std::path::Path;

use ocitar::compress::Codec;
use ocitar::edit::RenameRules;
use ocitar::error::Result;
use ocitar::stream::{Pass, is_stream};

use crate::args::{Common, Retag};
use crate::changes::Changes;
use crate::output::Printer;
use crate::progress::{Bar, catch_signals};
use crate::retag::summary;
use crate::{pipe, writing};

/// Whether an input is read in one pass.
pub fn applies(input: &Path) -> Result<bool> {
    if input == Path::new("-") { Ok(true) } else { is_stream(input) }
}

pub fn run(
    verb: &Retag,
    rules: &RenameRules,
    codec: Option<Codec>,
    common: &Common,
    printer: &Printer,
) -> Result<u8> {
    let dash = Path::new("-");
    let folder = verb.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.filter(|_| verb.output != dash);
    let pass =
        Pass::new(rules).options(crate::open_options(common, folder)).verify(verb.writing.verify);
    let bar = Bar::new(common, "passing");
    let mut options = writing::options(&verb.writing, common).progress(&bar);
    if let Some(codec) = codec {
        options = options.codec(codec);
    }
    let streamed = if verb.output == dash {
        let mut out = pipe::stdout([&*verb.input])?;
        if verb.input == dash {
            pass.write_stream("stdin", pipe::stdin(), &mut out, &options)
        } else {
            pass.write_file(&verb.input, &mut out, &options)
        }
    } else {
        catch_signals()?;
        if verb.input == dash {
            pass.write_stream_to("stdin", pipe::stdin(), &verb.output, &options)
        } else {
            pass.write_to(&verb.input, &verb.output, &options)
        }
    };
    bar.finish();
    let streamed = streamed?;
    printer.warnings(streamed.archive.label(), streamed.archive.findings());
    let changes = Changes { archive: &streamed.archive, list: &streamed.changes, rules };
    summary(&changes, &streamed.written, verb, printer)?;
    Ok(0)
}
