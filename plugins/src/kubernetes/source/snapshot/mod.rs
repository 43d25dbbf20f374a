//! Objects from manifests: a file or a folder of files, watched for changes.
//!
//! Each look compares what the file system says of the files with the last look; a file that has changed, and is as it was at the look
//! before, is read again, and all objects are then compared with what was reported, like a relist. A file that cannot be read keeps the
//! objects it had when it last could.

mod files;
#[cfg(any(test, fuzzing))]
pub mod property;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use tokio::time::sleep;

use self::files::{Stamp, find};
use self::read::{Manifest, ManifestObject, Problem, read};
use super::decode::{Decoded, Meaning};
use super::feed::Feed;
use super::selector::{Labels, Selector};
use super::{Settings, Sink, Timing};
use crate::kubernetes::objects::{Change, ObjectKey, Resource};

/// A snapshot that is being watched.
pub(super) struct Snapshot<S> {
    files: Files,
    feeds: Vec<Feed<S>>,
    selectors: Selectors,
    timing: Timing,
}

impl<S: Sink> Snapshot<S> {
    pub(super) fn new(
        path: PathBuf,
        settings: &Settings,
        timing: Timing,
        feeds: Vec<Feed<S>>,
    ) -> Snapshot<S> {
        // `check` has refused selectors that cannot be read; what got here all the same selects everything.
        let selector =
            |text: &Option<String>| text.as_deref().and_then(|text| Selector::parse(text).ok());
        let selectors = Selectors {
            objects: selector(&settings.labels),
            namespaces: selector(&settings.namespace_labels),
        };
        Snapshot { files: Files::new(path), feeds, selectors, timing }
    }

    /// Looks for changes for ever.
    pub(super) async fn run(mut self) {
        let mut problems = Vec::new();
        loop {
            let look = tokio::task::spawn_blocking(move || {
                let changed = self.files.look();
                (self, changed)
            });
            let (this, changed) = match look.await {
                Ok(looked) => looked,
                // Only if reading panicked, which leaves nothing to go on with.
                Err(error) => {
                    return tracing::error!(
                        "plugin/kubernetes: snapshot is no longer watched: {error}"
                    );
                }
            };
            self = this;
            if changed {
                self.report();
            }
            self.tell(&mut problems);
            sleep(self.timing.poll).await;
        }
    }

    /// Reports all objects, file by file. Of several with the same name the one in the last file counts.
    fn report(&mut self) {
        let complete = self.files.all_were_read();
        let objects = || self.files.known.values().rev().flat_map(|file| file.objects.iter().rev());
        let explicit = objects().any(|object| object.resource == Resource::Namespaces);
        for feed in &mut self.feeds {
            feed.list_begins();
            let resource = feed.resource();
            if resource == Resource::Namespaces && !explicit {
                let names: BTreeSet<_> =
                    objects().map(|object| object.decoded.key.namespace.as_str()).collect();
                let namespaces = names.into_iter().map(namespace);
                namespaces
                    .filter(|namespace| self.selectors.select(namespace))
                    .for_each(|namespace| feed.seen(namespace.decoded));
            }
            let mut named = HashSet::new();
            objects()
                .filter(|object| object.resource == resource && named.insert(&object.decoded.key))
                .filter(|object| self.selectors.select(object))
                .for_each(|object| feed.seen(object.decoded.clone()));
            feed.list_ended();
            if complete {
                feed.complete();
            }
        }
    }

    /// Says what cannot be read, once for each problem.
    fn tell(&self, told: &mut Vec<String>) {
        let problems = self.files.problems();
        if problems.is_empty() {
            self.feeds.iter().for_each(Feed::current);
        }
        for problem in problems.iter().filter(|problem| !told.contains(problem)) {
            tracing::error!("plugin/kubernetes: snapshot {problem}; what was read before stays");
        }
        if problems.is_empty() && !told.is_empty() {
            tracing::info!(
                "plugin/kubernetes: snapshot {}: all files can be read again",
                self.files.root.display()
            );
        }
        if let Some(feed) = self.feeds.first().filter(|_| problems != *told) {
            feed.source().set_problems(&problems);
        }
        *told = problems;
    }
}

/// The namespace that an object implies, where no Namespace is described.
fn namespace(name: &str) -> ManifestObject {
    ManifestObject {
        resource: Resource::Namespaces,
        labels: Labels::from([(NAMESPACE_LABEL.to_owned(), name.to_owned())]),
        decoded: Decoded {
            key: ObjectKey { namespace: String::new(), name: name.to_owned() },
            version: String::new(),
            meaning: Meaning::Present(Change::Namespace(name.to_owned())),
        },
    }
}

/// The API server gives this label to every Namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// The label selectors, which an API server would apply.
struct Selectors {
    objects: Option<Selector>,
    namespaces: Option<Selector>,
}

impl Selectors {
    fn select(&self, object: &ManifestObject) -> bool {
        let selector = match object.resource {
            Resource::Namespaces => &self.namespaces,
            _ => &self.objects,
        };
        selector.as_ref().is_none_or(|selector| selector.matches(&object.labels))
    }
}

/// The files of a snapshot.
struct Files {
    root: PathBuf,
    known: BTreeMap<PathBuf, File>,
    /// Why the folder, or one in it, cannot be looked at.
    root_problem: Option<String>,
    /// What the last look found; `None` before the first one.
    seen: Option<BTreeMap<PathBuf, Stamp>>,
}

/// One file.
#[derive(Default)]
struct File {
    /// What it was when it was last read, or could not be.
    stamp: Option<Stamp>,
    /// What it said when it could last be read.
    objects: Vec<ManifestObject>,
    was_read: bool,
    problem: Option<Problem>,
}

impl File {
    /// Takes what was read. Returns whether objects may have changed.
    fn take(&mut self, result: Result<Manifest, Problem>) -> bool {
        // Whoever writes it may have failed after emptying it.
        let result = match result {
            Ok(manifest) if !manifest.has_kind && !self.objects.is_empty() => {
                Err(Problem::of_file("no manifest in it any more".to_owned()))
            }
            result => result,
        };
        match result {
            Ok(manifest) => {
                *self = File {
                    stamp: self.stamp.take(),
                    objects: manifest.objects,
                    was_read: true,
                    problem: None,
                };
                true
            }
            Err(problem) => {
                self.problem = Some(problem);
                false
            }
        }
    }
}

impl Files {
    fn new(root: PathBuf) -> Files {
        Files { root, known: BTreeMap::new(), root_problem: None, seen: None }
    }

    /// Looks at all files and reads those that differ. Returns whether objects may have changed.
    ///
    /// A file that is being written is left alone until two looks find it the same, and one that is taken away to be written anew is not
    /// gone. Only the first look takes what it finds.
    fn look(&mut self) -> bool {
        let found = match find(&self.root) {
            Ok(found) => found,
            Err(problem) => {
                self.root_problem = Some(problem);
                return false;
            }
        };
        self.root_problem = None;
        let seen = self.seen.replace(found.clone());
        let is_settled =
            |path: &PathBuf| seen.as_ref().is_none_or(|seen| seen.get(path) == found.get(path));
        let before = self.known.len();
        self.known.retain(|path, _| found.contains_key(path) || !is_settled(path));
        // A folder without files is news too, once.
        let mut changed = self.known.len() != before || seen.is_none();
        for (path, stamp) in found.iter().filter(|(path, _)| is_settled(path)) {
            let file = self.known.entry(path.clone()).or_default();
            if file.stamp.as_ref() != Some(stamp) {
                file.stamp = Some(stamp.clone());
                changed |= file.take(read(path));
            }
        }
        changed
    }

    /// Whether every file could be read at least once.
    fn all_were_read(&self) -> bool {
        self.root_problem.is_none() && self.known.values().all(|file| file.was_read)
    }

    fn problems(&self) -> Vec<String> {
        let text = |path: &Path, problem: &Problem| format!("{}: {problem}", path.display());
        let files =
            self.known.iter().filter_map(|(path, file)| Some(text(path, file.problem.as_ref()?)));
        self.root_problem.clone().into_iter().chain(files).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{remove_file, write};

    use super::Files;

    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let path = |name: &str| folder.path().join(name);
        let put = |name: &str, names: &[&str]| {
            let namespace = |name: &&str| {
                format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
            };
            let text: String = names.iter().map(namespace).collect();
            write(path(name), text).expect("a file can be written");
        };
        let names = |files: &Files| -> Vec<String> {
            let objects = files.known.values().flat_map(|file| &file.objects);
            objects.map(|object| object.decoded.key.name.clone()).collect()
        };
        put("1.yaml", &["a"]);
        let mut files = Files::new(folder.path().to_owned());
        assert!(files.look(), "the first look takes what it finds");
        assert!(!files.look());
        assert_eq!(names(&files), ["a"]);
        let all = ["b", "c", "d", "e"];
        for count in 1..=all.len() {
            put("1.yaml", &all[..count]);
            assert!(!files.look(), "it grows");
            assert_eq!(names(&files), ["a"]);
        }
        // Another file does not wait for it.
        put("2.yaml", &["z"]);
        assert!(files.look());
        assert_eq!(names(&files), all);
        assert!(files.look());
        assert_eq!(names(&files), ["b", "c", "d", "e", "z"]);
        // Taken away and written anew, as some editors do; then only taken away.
        remove_file(path("1.yaml")).expect("it is there");
        assert!(!files.look());
        put("1.yaml", &["f"]);
        assert!(!files.look());
        assert!(files.look());
        remove_file(path("1.yaml")).expect("it is there");
        assert!(!files.look());
        assert_eq!(names(&files), ["f", "z"]);
        assert!(files.look());
        assert_eq!(names(&files), ["z"]);
        assert!(!files.look());
    }
}
