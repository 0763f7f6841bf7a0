//! Data to standard output, talk to standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use ocitar::diagnostics::{Diagnostic, Diagnostics, Severity};
use ocitar::error::{Code, Error, Result};
use ocitar::text::printable;
use serde_json::{Value, json};

use crate::args::{Common, When};

/// Where output goes and how it looks.
pub struct Printer {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    color: bool,
}

impl Printer {
    pub fn new(common: &Common) -> Printer {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = match common.color {
            When::Always => true,
            When::Never => false,
            When::Auto => io::stderr().is_terminal() && !no_color,
        };
        Printer { json: common.json, quiet: common.quiet, verbose: common.verbose > 0, color }
    }

    /// Prints an error as one line, and its hint as another.
    pub fn error(&self, error: &Error) {
        talk(format_args!("{}: {error}", self.paint("ocitar", "31")));
        self.hint(error);
    }

    fn hint(&self, error: &Error) {
        if let Some(hint) = hint_text(error) {
            talk(format_args!("  {}: {}", self.paint("hint", "36"), printable(&hint)));
        }
    }

    /// Warns of what is wrong with an archive that is used all the same.
    pub fn warnings(&self, archive: &str, findings: &Diagnostics) {
        for finding in findings.iter().filter(|finding| finding.severity >= Severity::Warning) {
            if !self.quiet {
                let kind = self.paint("warning", "33");
                talk(format_args!("{kind}: {}", finding.error.clone().in_archive(archive)));
                self.hint(&finding.error);
            }
        }
    }

    /// Prints the findings about an archive, of at least a severity.
    pub fn findings(&self, archive: &str, findings: &Diagnostics, least: Severity) {
        for finding in findings.iter().filter(|finding| finding.severity >= least) {
            let color = match finding.severity {
                Severity::Note => "36",
                Severity::Warning => "33",
                _ => "31",
            };
            let kind = self.paint(finding.severity.as_str(), color);
            talk(format_args!("{kind}: {}", finding.error.clone().in_archive(archive)));
            self.hint(&finding.error);
        }
    }

    /// Prints talk, unless it was not asked for.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            talk(format_args!("{text}"));
        }
    }

    fn paint(&self, text: &str, color: &str) -> String {
        if self.color { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What to do next: the library's hint, and the option that raises a limit.
fn hint_text(error: &Error) -> Option<Cow<'_, str>> {
    let hint = error.hint_text();
    match error.limit() {
        None => hint.map(Cow::from),
        Some(limit) => {
            let before = hint.map(|hint| format!("{hint}; or ")).unwrap_or_default();
            let option = format!("{before}--limit {limit}=VALUE raises the limit");
            Some(option.into())
        }
    }
}

/// Writes a line to standard error. Nobody may be listening, which is no reason
/// to fail.
pub fn talk(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes data to standard output. A reader that has gone away is no failure.
pub fn data(text: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text).and_then(|()| out.flush()))
}

fn written(done: io::Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("standard output", e)),
        _ => Ok(()),
    }
}

/// Prints what the parser of the command line says and gives the exit code: help
/// and the version, which are data, or what is wrong with the line.
pub fn usage(said: &clap::Error) -> u8 {
    let printed = said.print().and_then(|()| io::stdout().flush());
    match written(printed) {
        Err(error) if !said.use_stderr() => {
            talk(format_args!("ocitar: {error}"));
            exit_code(&error)
        }
        _ => u8::try_from(said.exit_code()).unwrap_or(2),
    }
}

/// Prints a JSON document, indented on a terminal.
pub fn json_data(value: &Value) -> Result<()> {
    let text =
        if io::stdout().is_terminal() { format!("{value:#}\n") } else { format!("{value}\n") };
    data(text.as_bytes())
}

/// Rows with aligned columns, as `ctr` prints them.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&title| title.to_owned()).collect();
    let all = || std::iter::once(&header).chain(rows);
    let width = |column: usize| {
        all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
        text.push('\n');
    }
    text
}

/// Words on indented lines of at most a width, where no word is longer.
pub fn wrapped(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = "   ".to_owned();
    for word in text.split(' ') {
        let has_words = !line.trim().is_empty();
        if has_words && line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(&line);
            lines.push('\n');
            line = "     ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    format!("{lines}{line}\n")
}

/// How many columns the terminal has that standard output is; `None` when it
/// is none.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// As [`terminal_width`], of standard error.
pub fn talk_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A digest cut to what a person compares, as docker shows IDs.
pub fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm @ ("sha256" | "sha512"), hex)) if hex.len() > 12 => {
            format!("{algorithm}:{}", &hex[..12])
        }
        _ => digest.to_owned(),
    }
}

/// A finding as data.
pub fn finding_json(finding: &Diagnostic) -> Value {
    let mut value = error_json(&finding.error);
    value["severity"] = finding.severity.as_str().into();
    value
}

/// An error as data. Absent parts are left out.
pub fn error_json(error: &Error) -> Value {
    let place = error.place();
    let mut value = json!({ "id": error.code().id(), "message": error.message() });
    let parts = [
        ("member", place.member.as_deref().map(Value::from)),
        ("index", place.index.map(Value::from)),
        ("offset", place.offset.map(Value::from)),
        ("expected", error.expected().map(Value::from)),
        ("found", error.found().map(Value::from)),
        ("limit", error.limit().map(|limit| Value::from(limit.name()))),
        ("hint", hint_text(error).map(Value::from)),
    ];
    for (key, part) in parts {
        if let Some(part) = part {
            value[key] = part;
        }
    }
    value
}

/// The exit code of several archives: a corrupt one counts before a malformed
/// one, as within one archive.
pub fn worse(a: u8, b: u8) -> u8 {
    match (a, b) {
        (0, code) | (code, 0) => code,
        (1, _) | (_, 1) => 1,
        (a, b) => a.max(b),
    }
}

/// The exit code of an error.
pub fn exit_code(error: &Error) -> u8 {
    match error.code() {
        Code::Interrupted => crate::progress::signal_exit_code(),
        _ => error.class().exit_code(),
    }
}
