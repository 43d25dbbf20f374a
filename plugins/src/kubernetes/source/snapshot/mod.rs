//! Objects from manifests: a file or a folder of files, watched for changes.
//!
//! Each look compares what the file system says of the files with the last look; a file that differs is read again, and all
//! objects are then compared with what was reported, like a relist. A file that cannot be read keeps the objects it
//! had when it last could.

mod files;
#[cfg(any(test, fuzzing))]
pub mod property;
mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::time::sleep;

use self::files::{Stamp, find};
use self::read::{ManifestObject, read};
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
        let files = Files { root: path, known: BTreeMap::new(), root_problem: None, looked: false };
        Snapshot { files, feeds, selectors, timing }
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
                for object in objects() {
                    let namespace = namespace(&object.decoded.key.namespace);
                    if self.selectors.select(&namespace) {
                        feed.seen_first(&namespace.decoded);
                    }
                }
            }
            for object in objects()
                .filter(|object| object.resource == resource && self.selectors.select(object))
            {
                feed.seen_first(&object.decoded);
            }
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
    /// Whether the files were found once: a folder without any is a change then, and none later.
    looked: bool,
}

/// One file.
struct File {
    stamp: Stamp,
    /// What it said when it could last be read.
    objects: Vec<ManifestObject>,
    was_read: bool,
    problem: Option<String>,
}

impl Files {
    /// Looks at all files and reads those that differ. Returns whether objects may have changed.
    fn look(&mut self) -> bool {
        let found = match find(&self.root) {
            Ok(found) => found,
            Err(problem) => {
                self.root_problem = Some(problem);
                return false;
            }
        };
        self.root_problem = None;
        let before = self.known.len();
        self.known.retain(|path, _| found.contains_key(path));
        let mut changed = self.known.len() != before || !std::mem::replace(&mut self.looked, true);
        for (path, stamp) in found {
            if self.known.get(&path).is_none_or(|file| file.stamp != stamp) {
                changed |= self.read(path, stamp);
            }
        }
        changed
    }

    fn read(&mut self, path: PathBuf, stamp: Stamp) -> bool {
        let result = read(&path);
        let file = File { stamp, objects: Vec::new(), was_read: false, problem: None };
        let file = match self.known.entry(path) {
            std::collections::btree_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                known.stamp = file.stamp;
                known
            }
            std::collections::btree_map::Entry::Vacant(new) => new.insert(file),
        };
        match result {
            Ok(objects) => {
                file.objects = objects;
                file.was_read = true;
                file.problem = None;
                true
            }
            Err(problem) => {
                file.problem = Some(problem.to_string());
                false
            }
        }
    }

    /// Whether every file could be read at least once.
    fn all_were_read(&self) -> bool {
        self.root_problem.is_none() && self.known.values().all(|file| file.was_read)
    }

    fn problems(&self) -> Vec<String> {
        let text = |path: &Path, problem: &String| format!("{}: {problem}", path.display());
        let files =
            self.known.iter().filter_map(|(path, file)| Some(text(path, file.problem.as_ref()?)));
        self.root_problem.clone().into_iter().chain(files).collect()
    }
}
