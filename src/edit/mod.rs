//! Edits: pure changes of an archive's metadata.
//!
//! An [`Edit`] is what should change; [`Edit::plan`] turns it into the ordered
//! pieces of the output. Nothing is written here, and the archive is only read.
//! The documents themselves are edited by functions from bytes to bytes
//! (`edit/documents/`), so that an archive that is indexed and one that streams by
//! change alike.

mod documents;
mod drop;
mod ledger;
mod places;
mod rename;
mod rules;
mod verbatim;

use crate::archive::Archive;
use crate::error::Result;
use crate::plan::Plan;
pub(crate) use documents::named_descriptor;
pub use ledger::{Ledger, LedgerEntry, LedgerKind};
pub use places::{NamePlace, Places};
pub use rename::{Change, Outcome, Renaming};
pub use rules::{Explanation, Origin, RenameRules, Rule, RuleFile};

/// Changes to one archive, not made yet.
#[derive(Debug)]
pub struct Edit<'a> {
    archive: &'a Archive,
    renaming: Option<Renaming>,
}

impl Archive {
    /// Starts an edit of this archive.
    ///
    /// The archive should have passed [`check`](Archive::check): an edit of one
    /// with fatal findings changes what consumers disagree about.
    #[must_use]
    pub fn edit(&self) -> Edit<'_> {
        Edit { archive: self, renaming: None }
    }
}

impl Edit<'_> {
    /// Renames images by rules.
    ///
    /// # Errors
    ///
    /// `E_RULE_UNMATCHED` when a rule that must match did not, `E_NO_MATCH`
    /// when `NEW` has not exactly one image to name, `E_NAME_COLLISION` when two
    /// images would end with one name, `E_REF` for an invalid result.
    pub fn rename(mut self, rules: &RenameRules) -> Result<Self> {
        self.renaming = Some(Renaming::resolve(self.archive, rules)?);
        Ok(self)
    }

    /// Every name of the archive and what happens to it; nothing where nothing
    /// is renamed.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        self.renaming.as_ref().map_or(&[], Renaming::changes)
    }

    /// What the renaming will do.
    #[must_use]
    pub fn renaming(&self) -> Option<&Renaming> {
        self.renaming.as_ref()
    }

    /// The pieces of the output: every member in its place and byte for byte,
    /// but the documents that change.
    ///
    /// # Errors
    ///
    /// `E_INPUT_CHANGED` and `E_IO` from reading headers.
    pub fn plan(self) -> Result<Plan> {
        let unchanged = Renaming::default();
        let renaming = self.renaming.as_ref().unwrap_or(&unchanged);
        let gone = drop::members(self.archive, renaming);
        let edited = documents::edit(self.archive, renaming)?;
        verbatim::plan(self.archive, edited, &gone)
    }
}
