//! What opening and verifying found: a list of typed findings.

use crate::error::{Code, Error};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; every consumer copes.
    Note,
    /// Some consumer will stumble, the content is intact.
    Warning,
    /// The content is at fault: `verify` fails.
    Error,
    /// Readers could disagree about what the archive is, or it cannot be read
    /// on: `verify` and `inspect` go on as far as they can, other verbs stop.
    Fatal,
}

impl Severity {
    /// The lower-case word for people and for JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, and where.
    pub error: Error,
}

/// The findings about one archive, in the order they were made.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

/// Findings of one kind beyond this many are counted, not kept: a hostile
/// archive must not turn its size into a report of that size.
const KEPT_PER_CODE: usize = 1000;

impl Diagnostics {
    /// Adds a finding. What was found already, on another way to the same
    /// place, is not said twice.
    pub(crate) fn push(&mut self, severity: Severity, error: Error) {
        let same = self.list.iter().filter(|d| d.error.code() == error.code());
        let mut same = same.take(KEPT_PER_CODE);
        let known = same.clone().any(|d| d.error.says_the_same(&error));
        if !known && same.nth(KEPT_PER_CODE - 1).is_none() {
            self.list.push(Diagnostic { severity, error });
        }
    }

    pub(crate) fn note(&mut self, error: Error) {
        self.push(Severity::Note, error);
    }

    pub(crate) fn warning(&mut self, error: Error) {
        self.push(Severity::Warning, error);
    }

    pub(crate) fn error(&mut self, error: Error) {
        self.push(Severity::Error, error);
    }

    pub(crate) fn fatal(&mut self, error: Error) {
        self.push(Severity::Fatal, error);
    }

    /// The findings, in the order they were made.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many findings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The worst severity among the findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.list.iter().map(|d| d.severity).max()
    }

    /// The exit code these findings ask for, or 0.
    ///
    /// A digest that does not match outranks everything: a corrupt blob is
    /// corrupt, whatever else its bytes then fail to be. Otherwise the first
    /// fatal finding decides, then any error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let failed = |d: &&Diagnostic| d.severity >= Severity::Error;
        if self.list.iter().filter(failed).any(|d| d.error.code() == Code::DigestMismatch) {
            return 1;
        }
        let worst = self.list.iter().filter(failed).max_by_key(|d| (d.severity, d.error.class()));
        worst.map_or(0, |d| d.error.class().exit_code())
    }

    /// The finding that stops every verb but `verify` and `inspect`: the first
    /// digest mismatch among the fatal ones, else the first fatal one.
    #[must_use]
    pub fn fatal_one(&self) -> Option<&Error> {
        let mut fatal = self.list.iter().filter(|d| d.severity == Severity::Fatal);
        let mismatch = fatal.clone().find(|d| d.error.code() == Code::DigestMismatch);
        mismatch.or(fatal.next()).map(|d| &d.error)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
