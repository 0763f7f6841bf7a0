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
mod pipe;
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

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use ocitar::archive::{Access, Archive, OpenOptions};
use ocitar::error::{Code, Error, Result};
use ocitar::source::MapChoice;

use args::{Cli, Common, Verb};
use output::Printer;

fn main() -> ExitCode {
    progress::survive_signals_of_files();
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(said) => return ExitCode::from(output::usage(&said)),
    };
    let cli = match Cli::of(&matches) {
        Ok(cli) => cli,
        Err(said) => return ExitCode::from(output::usage(&said)),
    };
    let printer = Printer::new(&cli.common);
    ExitCode::from(guarded(&printer, || run(&cli, &matches, &printer)))
}

fn run(cli: &Cli, matches: &ArgMatches, printer: &Printer) -> Result<u8> {
    match &cli.verb {
        Verb::Ls(verb) => ls::run(verb, &cli.common, printer),
        Verb::Inspect(verb) => inspect::run(verb, &cli.common, printer),
        Verb::Verify(verb) => verify::run(verb, &cli.common, printer),
        Verb::Check(verb) => check::run(verb, &cli.common, printer),
        Verb::Retag(verb) => {
            let order = matches.subcommand().map(|(_, matches)| matches);
            retag::run(verb, order, &cli.common, printer)
        }
        Verb::Export(verb) => export::export(verb, &cli.common, printer),
        Verb::Convert(verb) => export::convert(verb, &cli.common, printer),
        Verb::Merge(verb) => export::merge(verb, &cli.common, printer),
        Verb::Split(verb) => split::run(verb, &cli.common, printer),
        Verb::Recover(verb) => recover::run(verb, printer),
    }
}

/// The exit code of work, whatever becomes of it: a panic is a bug and is
/// reported like any other error.
fn guarded(printer: &Printer, work: impl FnOnce() -> Result<u8>) -> u8 {
    panic::set_hook(Box::new(|panic| {
        let bug = Error::new(Code::Bug, panic.to_string().replace('\n', " "));
        output::talk(format_args!("ocitar: {bug}"));
        output::talk(format_args!("  hint: this is a bug in ocitar, please report it"));
    }));
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            printer.error(&error);
            output::exit_code(&error)
        }
        Err(_) => output::exit_code(&Error::new(Code::Bug, "a panic")),
    }
}

/// Opens an input, `-` being standard input.
fn open(path: &Path, access: Access, common: &Common, tmpdir: Option<&Path>) -> Result<Archive> {
    let options = open_options(common, tmpdir).access(access);
    if path == Path::new("-") {
        return options.open_stream("stdin", pipe::stdin());
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_panic_is_a_bug_and_nothing_else() {
        let printer = Printer::new(&Cli::parse_from(["ocitar", "ls", "in.tar"]).common);
        assert_eq!(guarded(&printer, || Ok(3)), 3);
        assert_eq!(guarded(&printer, || Err(Error::new(Code::LimitJson, "much"))), 4);
        assert_eq!(guarded(&printer, || panic!("as a test")), 70);
        let thread = || std::thread::spawn(|| panic!("as a test")).join().map(|()| 0);
        assert_eq!(guarded(&printer, || thread().or_else(|panic| panic::resume_unwind(panic))), 70);
        let _ = panic::take_hook();
    }
}
