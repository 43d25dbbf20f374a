//! The texts of a configuration and places in them.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// One of the [`Sources`], counted from one: an optional span then needs no room for a flag, and
/// diagnostics stay small enough to be returned by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(NonZeroU32);

/// A stretch of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The source it lies in.
    pub source: SourceId,
    /// The line of its first character, from 1.
    pub line: u32,
    /// The column of its first character, in characters from 1.
    pub column: u32,
    /// The offset of its first byte.
    pub start: u32,
    /// The offset after its last byte.
    pub end: u32,
}

/// All texts a configuration was read from, so that diagnostics can show them.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

#[derive(Clone, Debug)]
pub(super) struct Source {
    /// As the operator wrote it for the first file, absolute for imported ones.
    pub(super) name: String,
    /// What relative imports in this text are relative to.
    pub(super) directory: PathBuf,
    pub(super) text: Arc<str>,
    /// The offset of each line's first byte.
    line_starts: Vec<u32>,
}

impl Sources {
    pub(super) fn add(&mut self, name: String, directory: PathBuf, text: &str) -> SourceId {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at as u32 + 1);
        let line_starts = std::iter::once(0).chain(after_newlines).collect();
        self.0.push(Source { name, directory, text: text.into(), line_starts });
        let count = u32::try_from(self.0.len()).expect("imports are bounded far below this");
        SourceId(NonZeroU32::new(count).expect("one was just added"))
    }

    pub(super) fn get(&self, id: SourceId) -> Option<&Source> {
        self.0.get(id.0.get() as usize - 1)
    }

    /// The name of a source: the path as given for the first file, absolute for imported files.
    pub fn name(&self, id: SourceId) -> &str {
        self.get(id).map_or("?", |source| &source.name)
    }

    /// `FILE:LINE:COLUMN` of a span.
    pub fn place(&self, span: Span) -> String {
        format!("{}:{}:{}", self.name(span.source), span.line, span.column)
    }

    /// The span of a range of bytes.
    pub(super) fn span(&self, id: SourceId, range: Range<usize>) -> Span {
        let Some(source) = self.get(id) else {
            return Span { source: id, line: 1, column: 1, start: 0, end: 0 };
        };
        let start = floor(&source.text, range.start);
        let end = floor(&source.text, range.end).max(start);
        let line = source.line_at(start as u32);
        let line_start = source.line_starts[line] as usize;
        let column = source.text[line_start..start].chars().count() as u32 + 1;
        let line = line as u32 + 1;
        Span { source: id, line, column, start: start as u32, end: end as u32 }
    }
}

impl Source {
    /// The index (from 0) of the line that holds a byte.
    pub(super) fn line_at(&self, offset: u32) -> usize {
        // The first line starts at 0, so at least one start is not above the offset.
        self.line_starts.partition_point(|&start| start <= offset) - 1
    }

    /// The bytes of lines `first..=last` (indices from 0), the last one without its newline.
    pub(super) fn lines(&self, first: usize, last: usize) -> Range<usize> {
        let start = self.line_starts[first] as usize;
        let end = match self.line_starts.get(last + 1) {
            Some(&next) => next as usize - 1,
            None => self.text.len(),
        };
        start..end
    }
}

/// The nearest character boundary at or below an offset that may also lie beyond the end.
fn floor(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default()
}
