//! How much is read: whoever writes a configuration, it takes bounded memory and time.

/// The largest file that is read; a Kubernetes ConfigMap holds at most 1 MiB.
pub(super) const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// The deepest nesting of blocks in a directive; no plugin has more than three.
pub(super) const MAX_DEPTH: usize = 64;
/// The most errors, and the most warnings, that are collected.
pub(super) const MOST_DIAGNOSTICS: usize = 100;
/// The most words a file may have, and a configuration when all imports are in place.
pub(super) const MOST_WORDS: usize = 1_000_000;
/// The most bytes these words may have.
pub(super) const MOST_WORD_BYTES: usize = 64 * 1024 * 1024;
/// CoreDNS's limit for snippets in one configuration.
pub(super) const MOST_SNIPPET_EXPANSIONS: u32 = 10_000;
/// CoreDNS's limit for imported files in one configuration.
pub(super) const MOST_FILE_EXPANSIONS: u32 = 100_000;
/// The most bytes all files of a configuration may have.
pub(super) const MOST_SOURCE_BYTES: usize = 64 * 1024 * 1024;
