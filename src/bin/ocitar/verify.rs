//! `ocitar verify`: one line an image, findings below.

use ocitar::archive::{Access, Archive};
use ocitar::diagnostics::Severity;
use ocitar::error::Result;
use ocitar::text::printable;
use ocitar::verify::{ImageReport, Report, VerifyOptions};
use serde_json::{Value, json};

use crate::args::{Common, Verify};
use crate::output::{self, Printer, error_json, exit_code, finding_json, table, worse};
use crate::progress::Bar;

pub fn run(verb: &Verify, common: &Common, printer: &Printer) -> Result<u8> {
    let mut code = 0;
    let mut archives = Vec::new();
    for input in &verb.inputs {
        match crate::open(input, Access::Whole, common, None) {
            Ok(archive) => {
                let mut options = options(common);
                options.all_platforms = verb.all_platforms;
                options.strict_layers = verb.strict_layers;
                let report = check(&archive, &options, common);
                code = worse(code, report.findings.exit_code());
                if printer.json {
                    archives.push(report_json(&archive, &report));
                } else {
                    print(&archive, &report, printer)?;
                }
            }
            Err(error) => {
                printer.error(&error);
                archives.push(json!({ "path": input.display().to_string(), "ok": false, "error": error_json(&error) }));
                code = worse(code, exit_code(&error));
            }
        }
    }
    if printer.json {
        output::json_data(&json!({ "archives": archives }))?;
    }
    Ok(code)
}

/// As the options that all verbs have ask for.
pub fn options(common: &Common) -> VerifyOptions {
    let mut options = VerifyOptions::default();
    options.jobs = common.jobs();
    options
}

/// Verifies with a bar.
pub fn check(archive: &Archive, options: &VerifyOptions, common: &Common) -> Report {
    let bar = Bar::new(common, "verifying");
    let report = archive.verify(options, &bar);
    bar.finish();
    report
}

/// Verifies what is about to be written; when something is wrong it was said, and
/// there is the exit code.
pub fn sound(archive: &Archive, common: &Common, printer: &Printer) -> Result<(), u8> {
    let report = check(archive, &options(common), common);
    if report.is_ok() { Ok(()) } else { Err(unsound(archive, &report, printer)) }
}

/// Says what is wrong; gives the exit code.
pub fn unsound(archive: &Archive, report: &Report, printer: &Printer) -> u8 {
    printer.findings(archive.label(), &report.findings, Severity::Error);
    report.findings.exit_code()
}

fn print(archive: &Archive, report: &Report, printer: &Printer) -> Result<()> {
    if !printer.quiet {
        let rows: Vec<Vec<String>> = report.images.iter().map(row).collect();
        if !rows.is_empty() {
            output::data(table(&["REF", "STATUS", "ABSENT"], &rows).as_bytes())?;
        }
    }
    let least = if printer.quiet { Severity::Error } else { Severity::Note };
    printer.findings(archive.label(), &report.findings, least);
    if printer.verbose {
        for name in &report.unverifiable {
            printer.say(&format!("unverifiable: {}", printable(name)));
        }
    }
    Ok(())
}

fn row(image: &ImageReport) -> Vec<String> {
    vec![
        printable(&image.label).into_owned(),
        format!("{} ({}/{})", image.status.as_str(), image.present, image.needed),
        if image.absent.is_empty() {
            "-".to_owned()
        } else {
            printable(&image.absent.join(",")).into_owned()
        },
    ]
}

fn report_json(archive: &Archive, report: &Report) -> Value {
    let images = report.images.iter().map(|image| {
        json!({
            "name": image.label,
            "status": image.status.as_str(),
            "present": image.present,
            "needed": image.needed,
            "absent": image.absent,
        })
    });
    json!({
        "path": archive.label(),
        "ok": report.is_ok(),
        "images": images.collect::<Vec<_>>(),
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "unverifiable": report.unverifiable,
        "files": report.files,
        "bytes": report.bytes,
    })
}
