//! What ocitar says of some bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ocitar::archive::{Archive, OpenOptions};
use ocitar::diagnostics::Severity;
use ocitar::error::{Code, Error};
use ocitar::limits::Limits;
use ocitar::progress::Silent;
use ocitar::verify::VerifyOptions;

use crate::rows::Want;

/// What ocitar says of an archive, up to what `verify` says.
#[derive(Debug)]
pub enum Verdict {
    Panic,
    /// Opening fails, or `check` stops.
    Refused(Error),
    /// `verify` finds these errors; none is a sound archive.
    Verified(Vec<Error>),
}

impl Verdict {
    pub fn of(bytes: &[u8], limits: &Limits) -> Verdict {
        let work = || {
            let options = OpenOptions::new().limits(limits.clone());
            let archive = match options.open_bytes("crafted", bytes).and_then(Archive::check) {
                Ok(archive) => archive,
                Err(error) => return Verdict::Refused(error),
            };
            let mut options = VerifyOptions::default();
            options.jobs = Some(1);
            let report = archive.verify(&options, &Silent);
            let bad = report.findings.iter().filter(|found| found.severity >= Severity::Error);
            Verdict::Verified(bad.map(|found| found.error.clone()).collect())
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or(Verdict::Panic)
    }

    pub fn is(&self, want: Want) -> bool {
        let code = |error: &Error| error.code();
        match (self, want) {
            (Verdict::Refused(error), Want::Refused(code)) => error.code() == code,
            (Verdict::Verified(errors), Want::Accepted) => errors.is_empty(),
            (Verdict::Verified(errors), Want::Fails(wanted)) => {
                errors.iter().map(code).any(|code: Code| code == wanted)
            }
            _ => false,
        }
    }
}
