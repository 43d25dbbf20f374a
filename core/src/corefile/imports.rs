use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::lexer::Token;
use super::{SourceId, Span};

/// What `import` can refer to, and how often it did.
#[derive(Default)]
pub(super) struct Imports {
    pub(super) snippets: BTreeMap<String, Snippet>,
    /// Files that were read already.
    pub(super) files: HashMap<PathBuf, (SourceId, Arc<[Token]>)>,
    pub(super) snippet_expansions: u32,
    pub(super) file_expansions: u32,
    pub(super) source_bytes: usize,
    /// Imports of a name without a file, with the place of their error: a snippet of that name
    /// may still follow, which explains the error.
    pub(super) not_found: Vec<(usize, String)>,
}

/// A block that `import` puts elsewhere.
pub(super) struct Snippet {
    pub(super) name: Span,
    pub(super) tokens: Arc<[Token]>,
}
