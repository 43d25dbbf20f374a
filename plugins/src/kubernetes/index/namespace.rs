//! What is known of a namespace.

use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// A namespace that exists, or that services or pods are known of.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// Number of the namespace in this index, never given twice.
    pub(super) id: u32,
    /// Whether the option `namespaces`, if it is there, names it.
    listed: bool,
    /// Whether the namespace itself has been seen (and matches `namespace_labels`).
    exists: AtomicBool,
    /// How many services and pods refer to it; only the writer looks.
    members: AtomicU32,
}

impl Namespace {
    pub(super) fn new(id: u32, listed: bool) -> Namespace {
        Namespace { id, listed, exists: AtomicBool::new(false), members: AtomicU32::new(0) }
    }

    /// Whether names in it are answered.
    pub(crate) fn is_exposed(&self) -> bool {
        self.listed && self.exists.load(Acquire)
    }

    pub(super) fn set_exists(&self, exists: bool) {
        self.exists.store(exists, Release);
    }

    pub(super) fn join(&self) {
        self.members.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self) {
        self.members.fetch_sub(1, Relaxed);
    }

    /// Whether nothing is left that needs it.
    pub(super) fn is_unused(&self) -> bool {
        !self.exists.load(Relaxed) && self.members.load(Relaxed) == 0
    }
}
