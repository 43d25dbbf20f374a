//! Which files there are, and whether they have changed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folders in folders, and files in all, so that a path that was mistaken (`/`) ends in an error and not in a long walk.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 10_000;

/// What the file system says of a file.
///
/// A volume of a ConfigMap replaces all files at once by pointing a symbolic link to another folder, which can leave size and time of
/// a file as they were; so the place that the name leads to counts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    place: PathBuf,
}

impl Stamp {
    fn of(path: &Path, metadata: &Metadata) -> Stamp {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Stamp { size: metadata.len(), modified: metadata.modified().ok(), place }
    }
}

/// The manifests of a file or folder. Hidden files and folders are passed over: `..data` of a mounted volume has
/// every file a second time.
pub(super) fn find(root: &Path) -> Result<BTreeMap<PathBuf, Stamp>, String> {
    let mut found = BTreeMap::new();
    let metadata = fs::metadata(root).map_err(|error| format!("{}: {error}", root.display()))?;
    if metadata.is_dir() {
        find_in(root, 0, &mut found)?;
    } else {
        found.insert(root.to_owned(), Stamp::of(root, &metadata));
    }
    Ok(found)
}

fn find_in(
    folder: &Path,
    depth: usize,
    found: &mut BTreeMap<PathBuf, Stamp>,
) -> Result<(), String> {
    let in_folder = |error: std::io::Error| format!("{}: {error}", folder.display());
    if depth > MAX_DEPTH {
        return Err(format!("{}: more than {MAX_DEPTH} folders deep", folder.display()));
    }
    for entry in fs::read_dir(folder).map_err(in_folder)? {
        let entry = entry.map_err(in_folder)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => find_in(&path, depth + 1, found)?,
            Ok(metadata) if is_manifest(&path) => {
                found.insert(path.clone(), Stamp::of(&path, &metadata));
            }
            Ok(_) => {}
            // Removed since the folder was read, or a link that leads nowhere.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
        if found.len() > MAX_FILES {
            return Err(format!("{}: more than {MAX_FILES} manifests", folder.display()));
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|it| ["yaml", "yml", "json"].contains(&it))
}
