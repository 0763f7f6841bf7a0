//! The plan: what the output is made of, in order, before anything is written.

use std::sync::Arc;

use crate::archive::Origin;
use crate::error::Result;
use crate::source::{Source, Span};

/// One piece of an output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Piece {
    /// These bytes of an input.
    Span(Span),
    /// These new bytes.
    Bytes(Vec<u8>),
}

impl Piece {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Piece::Span(span) => span.len,
            Piece::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Whether the piece is at this offset of this source already.
    pub(crate) fn stays(&self, source: &Source, at: u64) -> bool {
        match self {
            Piece::Span(span) => span.offset == at && std::ptr::eq(&*span.source, source),
            Piece::Bytes(_) => false,
        }
    }

    /// Whether the piece holds no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The pieces of an output, in order. Its length in bytes is exact.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pieces: Vec<Piece>,
    len: u64,
    /// What the bytes come from, which an output must not overwrite.
    origins: Vec<Origin>,
}

impl Plan {
    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes of the output before it is compressed.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the output would be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Fails when an input was written to since it was opened.
    ///
    /// # Errors
    ///
    /// `E_INPUT_CHANGED`.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let mut last: Option<&Arc<Source>> = None;
        for piece in &self.pieces {
            let Piece::Span(span) = piece else { continue };
            if !last.is_some_and(|last| Arc::ptr_eq(last, &span.source)) {
                span.source.check_unchanged()?;
            }
            last = Some(&span.source);
        }
        Ok(())
    }

    /// Visits the bytes of the output in order, in chunks of at most 1 MiB.
    ///
    /// # Errors
    ///
    /// The visitor's, and those of [`Span::visit_chunks`].
    pub fn visit(&self, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.visit_from(0, visit)
    }

    /// As [`visit`](Self::visit), without the first `skip` bytes.
    pub(crate) fn visit_from(
        &self,
        skip: u64,
        visit: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut skip = skip;
        for piece in &self.pieces {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            match piece {
                Piece::Span(span) => span.behind(skipped).visit_chunks(visit)?,
                Piece::Bytes(bytes) => {
                    let rest = usize::try_from(skipped).ok().and_then(|at| bytes.get(at..));
                    rest.unwrap_or_default().chunks(1 << 20).try_for_each(&mut *visit)?;
                }
            }
        }
        Ok(())
    }
}

/// Collects pieces; neighbours that touch become one.
#[derive(Debug)]
pub(crate) struct PlanBuilder {
    plan: Plan,
}

impl PlanBuilder {
    /// A plan of pieces from these origins.
    pub(crate) fn new(origins: Vec<Origin>) -> PlanBuilder {
        PlanBuilder { plan: Plan { origins, ..Plan::default() } }
    }

    pub(crate) fn span(&mut self, span: Span) {
        if span.len == 0 {
            return;
        }
        self.plan.len += span.len;
        if let Some(Piece::Span(last)) = self.plan.pieces.last_mut() {
            let same = Arc::ptr_eq(&last.source, &span.source);
            if same && last.offset + last.len == span.offset {
                last.len += span.len;
                return;
            }
        }
        self.plan.pieces.push(Piece::Span(span));
    }

    pub(crate) fn bytes(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.plan.len += bytes.len() as u64;
        if let Some(Piece::Bytes(last)) = self.plan.pieces.last_mut() {
            last.extend_from_slice(&bytes);
            return;
        }
        self.plan.pieces.push(Piece::Bytes(bytes));
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.bytes(vec![0; count]);
    }

    pub(crate) fn build(self) -> Plan {
        self.plan
    }
}
