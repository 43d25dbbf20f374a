//! Import patterns, matched as Go's `filepath.Glob` matches them.

use std::path::{Component, Path, PathBuf};

/// Joins and tidies a path by its text alone, as Go does: `..` takes away the part before it.
pub(super) fn clean(base: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if clean.file_name().is_some() => {
                clean.pop();
            }
            Component::ParentDir if clean.has_root() => {}
            part => clean.push(part),
        }
    }
    clean
}

/// Whether a path is a pattern and not a plain name.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', ']'])
}

/// The files that match, in lexical order. Directories that cannot be read match nothing.
pub(super) fn glob(pattern: &Path) -> Result<Vec<PathBuf>, BadPattern> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let Component::Normal(name) = part else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?', '[', '\\']) {
            found.iter_mut().for_each(|path| path.push(&*name));
            continue;
        }
        let name: Vec<char> = name.chars().collect();
        matches(&name, &[])?;
        found = found.iter().flat_map(|directory| entries(directory, &name)).collect();
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    Ok(found)
}

/// A pattern with a `[` that opens no class, or a backslash that escapes nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPattern;

/// The entries of a directory that match, sorted. Names starting with a dot are no exception.
fn entries(directory: &Path, pattern: &[char]) -> Vec<PathBuf> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names.retain(|name| {
        let name: Vec<char> = name.to_string_lossy().chars().collect();
        matches(pattern, &name) == Ok(true)
    });
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// Whether a name matches. Patterns hold at most one `*` and one `?` here, so going back to the
/// last `*` on a mismatch is all it takes.
pub(super) fn matches(pattern: &[char], name: &[char]) -> Result<bool, BadPattern> {
    let pattern = compile(pattern)?;
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(Piece::Star) => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(Piece::Any) => (at, from) = (at + 1, from + 1),
            Some(Piece::One(char)) if *char == name[from] => (at, from) = (at + 1, from + 1),
            _ => {
                let Some((after, taken)) = star else { return Ok(false) };
                star = Some((after, taken + 1));
                (at, from) = (after, taken + 1);
            }
        }
    }
    Ok(pattern[at..].iter().all(|piece| matches!(piece, Piece::Star)))
}

enum Piece {
    Star,
    Any,
    One(char),
}

fn compile(pattern: &[char]) -> Result<Vec<Piece>, BadPattern> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut rest = pattern.iter();
    while let Some(char) = rest.next() {
        pieces.push(match char {
            '*' => Piece::Star,
            '?' => Piece::Any,
            '[' => return Err(BadPattern),
            '\\' => Piece::One(*rest.next().ok_or(BadPattern)?),
            char => Piece::One(*char),
        });
    }
    Ok(pieces)
}
