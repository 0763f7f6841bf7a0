//! The `ocitar` command: a thin user of the library.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_macros))]

mod args;
mod bundles;
mod changes;
mod check;
mod export;
mod in_place;
mod inspect;
mod ls;
mod output;
mod progress;
mod recover;
mod report;
mod retag;
mod rules;
mod said;
mod shape;
mod split;
mod stream;
mod verify;
mod writing;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use ocitar::archive::{Access, Archive, OpenOptions};
use ocitar::error::Result;
use ocitar::source::MapChoice;

use args::{Cli, Common, Verb};
use output::Printer;

fn main() -> ExitCode {
    progress::survive_signals_of_files();
    let matches = args::command().get_matches();
    let cli = match Cli::of(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let printer = Printer::new(&cli.common);
    let done = match &cli.verb {
        Verb::Ls(verb) => ls::run(verb, &cli.common, &printer),
        Verb::Inspect(verb) => inspect::run(verb, &cli.common, &printer),
        Verb::Verify(verb) => verify::run(verb, &cli.common, &printer),
        Verb::Check(verb) => check::run(verb, &cli.common, &printer),
        Verb::Retag(verb) => {
            let order = matches.subcommand().map(|(_, matches)| matches);
            retag::run(verb, order, &cli.common, &printer)
        }
        Verb::Export(verb) => export::export(verb, &cli.common, &printer),
        Verb::Convert(verb) => export::convert(verb, &cli.common, &printer),
        Verb::Merge(verb) => export::merge(verb, &cli.common, &printer),
        Verb::Split(verb) => split::run(verb, &cli.common, &printer),
        Verb::Recover(verb) => recover::run(verb, &printer),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            printer.error(&error);
            ExitCode::from(output::exit_code(&error))
        }
    }
}

/// Opens an input, `-` being standard input.
fn open(path: &Path, access: Access, common: &Common, tmpdir: Option<&Path>) -> Result<Archive> {
    let options = open_options(common, tmpdir).access(access);
    if path == Path::new("-") {
        return options.open_stream("stdin", io::stdin().lock());
    }
    options.open(path)
}

/// How inputs are opened; temporary files go to `--tmpdir`, else to `tmpdir`.
fn open_options(common: &Common, tmpdir: Option<&Path>) -> OpenOptions {
    let map = match (common.mmap, common.no_mmap) {
        (true, _) => MapChoice::Always,
        (_, true) => MapChoice::Never,
        _ => MapChoice::Auto,
    };
    let tmpdir = common.tmpdir.as_deref().or(tmpdir).map(Path::to_owned);
    OpenOptions::new().map(map).tmpdir(tmpdir).limits(common.limits())
}
