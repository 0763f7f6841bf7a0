//! `ocitar recover`: after an edit in place that was stopped.

use ocitar::error::Result;
use ocitar::text::printable;
use ocitar::write::{Recovery, recover};
use serde_json::json;

use crate::args::Recover;
use crate::output::{self, Printer};

pub fn run(verb: &Recover, printer: &Printer) -> Result<u8> {
    let done = recover(&verb.file)?;
    let name = verb.file.display().to_string();
    if printer.json {
        output::json_data(&json!({ "file": name, "recovery": done.as_str() }))?;
    } else {
        let text = match done {
            Recovery::NotBegun => "the edit had not begun: the file is the old one",
            Recovery::Complete => "the edit was complete: the file is the new one",
            Recovery::Restored => "the edit was undone: the file is the old one again",
            _ => "nothing to recover",
        };
        printer.say(&format!("{}: {text}", printable(&name)));
    }
    Ok(0)
}
