//! From decoded objects to the sink: the one way in which all sources report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use periplus_core::metrics::Registry;

use super::Sink;
use super::decode::Decoded;
use super::failure::Failure;
use super::known::Known;
use super::metrics::WatchMetrics;
use super::state::{ResourceState, SourceState};
use crate::kubernetes::objects::{Change, ObjectKey, Resource};

/// Reports the objects of one kind to the sink, and how that goes to the state, the metrics and the log.
pub(super) struct Feed<S> {
    resource: Resource,
    known: Known,
    sink: Arc<S>,
    state: Arc<SourceState>,
    metrics: WatchMetrics,
}

impl<S: Sink> Feed<S> {
    pub(super) fn new(
        resource: Resource,
        sink: Arc<S>,
        state: Arc<SourceState>,
        registry: &Registry,
    ) -> Feed<S> {
        let metrics = WatchMetrics::new(registry, resource, state.origin());
        Feed { resource, known: Known::new(resource), sink, state, metrics }
    }

    pub(super) fn resource(&self) -> Resource {
        self.resource
    }

    /// A list begins.
    pub(super) fn list_begins(&mut self) {
        self.known.list_begins();
    }

    /// An object is there.
    pub(super) fn seen(&mut self, decoded: Decoded) {
        if let Some(change) = self.known.seen(decoded) {
            self.apply(change);
        }
    }

    /// An object is gone.
    pub(super) fn gone(&mut self, key: ObjectKey) {
        if let Some(change) = self.known.gone(key) {
            self.apply(change);
        }
    }

    /// The list was read to its end: what it did not name is gone.
    pub(super) fn list_ended(&mut self) {
        for change in self.known.list_ended() {
            self.apply(change);
        }
        self.metrics.listed();
        self.current();
    }

    /// All there is was reported.
    pub(super) fn complete(&self) {
        if let Some(state) = self.state().filter(|state| !state.synced()) {
            self.sink.synced(self.resource);
            state.set_synced();
            tracing::info!(
                "plugin/kubernetes: {}: {} objects read",
                self.resource.name(),
                self.known.len()
            );
        }
    }

    /// The data is as new as it can be.
    pub(super) fn current(&self) {
        if let Some(state) = self.state() {
            state.is_current();
        }
    }

    /// Reading fails; what was reported stays. Logged when it is another failure than before.
    pub(super) fn fails(&self, failure: &Failure) {
        self.metrics.failed(failure);
        if failure.is_routine() {
            return;
        }
        let Some(state) = self.state().filter(|state| state.fails(failure.to_string())) else {
            return;
        };
        let name = self.resource.name();
        match state.age().filter(|_| state.synced()) {
            Some(age) => tracing::warn!(
                "plugin/kubernetes: {name}: {failure}; retrying, and answering from data of {}s ago",
                age.as_secs()
            ),
            None => tracing::warn!("plugin/kubernetes: {name}: {failure}; retrying"),
        }
    }

    /// Something was wrong, but is no more.
    pub(super) fn notes(&self, failure: &Failure) {
        self.metrics.failed(failure);
        tracing::warn!(
            "plugin/kubernetes: {}: {failure}; the list was read again",
            self.resource.name()
        );
    }

    /// Reading works. Logged when it did not before.
    pub(super) fn works(&self) {
        if let Some(time) = self.state().and_then(ResourceState::works) {
            tracing::info!(
                "plugin/kubernetes: {}: works again after {}s",
                self.resource.name(),
                time.as_secs()
            );
        }
    }

    /// A panic of the sink costs one change of one object, not all that come after it.
    fn apply(&self, change: Change) {
        if catch_unwind(AssertUnwindSafe(|| self.sink.apply(change))).is_err() {
            tracing::error!(
                "plugin/kubernetes: {}: a change could not be applied",
                self.resource.name()
            );
        }
    }

    /// The source that this belongs to.
    pub(super) fn source(&self) -> &SourceState {
        &self.state
    }

    fn state(&self) -> Option<&ResourceState> {
        self.state.of(self.resource)
    }
}
