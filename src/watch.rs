//! Whether the files that a configuration was read from are still the same ones, seen without reading them.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use periplus_core::corefile::Inputs;

/// Files, and what they were when they were looked at last.
#[derive(Default)]
pub(crate) struct FileWatch {
    files: Vec<(PathBuf, Seen)>,
    /// Something has changed, and may still be changing.
    unsettled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It was not looked at yet: whether it has changed since it was read nobody knows.
    Never,
    Missing,
    File(Identity),
}

/// What differs between two files, or between two contents of one: device, inode, size, and the times of its content and its inode.
///
/// A ConfigMap is mounted as links to links; the file behind them is another one after each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity([i64; 7]);

impl FileWatch {
    /// Watches what a configuration was read from: its own file, if it has one, and what it imports. What is known of a file stays known.
    pub(crate) fn watch(&mut self, own: Option<&Path>, inputs: &Inputs) {
        let folders = inputs.globs.iter().map(|pattern| folder(pattern));
        let paths = own.into_iter().chain(inputs.files.iter().map(PathBuf::as_path)).chain(folders);
        let mut files: Vec<(PathBuf, Seen)> = Vec::new();
        for path in paths {
            if files.iter().all(|(other, _)| other != path) {
                let known = self.files.iter().find(|(other, _)| other == path);
                files.push((path.to_owned(), known.map_or(Seen::Never, |(_, seen)| *seen)));
            }
        }
        self.files = files;
    }

    /// Looks at all of them. `true`: something has changed since the last time that this was said, and nothing has since the look before. A
    /// file that is being written is left alone until it is done.
    pub(crate) fn look(&mut self) -> bool {
        let mut moves = false;
        for (path, seen) in &mut self.files {
            let now = std::fs::metadata(path).map_or(Seen::Missing, |data| Seen::File(of(&data)));
            moves |= std::mem::replace(seen, now) != now;
        }
        let settled = self.unsettled && !moves;
        self.unsettled = moves;
        settled
    }
}

/// The folder in which a pattern's matches come and go, or a folder around it where its own name is a pattern.
fn folder(pattern: &Path) -> &Path {
    let is_pattern = |path: &Path| path.to_string_lossy().contains(['*', '?', '[', ']']);
    pattern.ancestors().skip(1).find(|path| !is_pattern(path)).unwrap_or(pattern)
}

fn of(data: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    Identity([
        data.dev() as i64,
        data.ino() as i64,
        data.size() as i64,
        data.mtime(),
        data.mtime_nsec(),
        data.ctime(),
        data.ctime_nsec(),
    ])
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, remove_file, rename, write};

    use super::*;

    /// Looks, at most `looks` times, until a change is reported; says after how many.
    fn looks(watch: &mut FileWatch, looks: usize) -> Option<usize> {
        (1..=looks).find(|_| watch.look())
    }

    #[test]
    fn each_way_of_changing_a_file_is_seen_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        let put = |name: &str, text: &str| write(path(name), text).expect("a file can be written");
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, path(name)).expect("a link can be made");
        };
        // As the kubelet mounts a ConfigMap.
        for (folder, text) in [("..2026_01", "one"), ("..2026_02", "two")] {
            create_dir(path(folder)).expect("a folder can be made");
            put(&format!("{folder}/Corefile"), text);
        }
        link("..2026_01", "..data");
        link("..data/Corefile", "Corefile");
        create_dir(path("conf.d")).expect("a folder can be made");
        let inputs = Inputs { files: vec![path("imported")], globs: vec![path("conf.d/*.conf")] };
        let mut watch = FileWatch::default();
        watch.watch(Some(&path("Corefile")), &inputs);
        assert_eq!(
            looks(&mut watch, 5),
            Some(2),
            "what was read before the first look is read again"
        );
        let changes: [(&str, &dyn Fn()); 5] = [
            ("swapped", &|| {
                link("..2026_02", "..data_tmp");
                rename(path("..data_tmp"), path("..data")).expect("a link can be renamed");
            }),
            ("made", &|| put("imported", "a")),
            ("removed", &|| remove_file(path("imported")).expect("it is there")),
            ("written in place, as long as before", &|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                put("..2026_02/Corefile", "2wo");
            }),
            ("put beside others", &|| put("conf.d/new.conf", "b")),
        ];
        for (what, change) in changes {
            assert_eq!(looks(&mut watch, 3), None, "before it is {what}");
            change();
            assert_eq!(looks(&mut watch, 3), Some(2), "after it is {what}");
        }
        watch.watch(Some(&path("Corefile")), &inputs);
        assert_eq!(looks(&mut watch, 3), None, "what is known stays known");
    }

    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("Corefile");
        let mut watch = FileWatch::default();
        watch.watch(Some(&path), &Inputs::default());
        looks(&mut watch, 2);
        for length in 1..10 {
            write(&path, "x".repeat(length)).expect("a file can be written");
            assert!(!watch.look(), "it grows");
        }
        assert!(watch.look());
    }

    #[test]
    fn a_pattern_is_watched_by_the_folder_around_it() {
        for (pattern, expected) in
            [("/etc/d/*.conf", "/etc/d"), ("/etc/*/x.conf", "/etc"), ("/e?c/d/*", "/")]
        {
            assert_eq!(folder(Path::new(pattern)), Path::new(expected));
        }
    }
}
