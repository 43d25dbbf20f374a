//! Families whose series come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::{Labels, Registry};

/// Says at each scrape which series there are.
pub(super) type Collect = Arc<dyn Fn(&mut Collected) + Send + Sync>;

/// What collectors say at one scrape.
#[derive(Default)]
pub struct Collected(pub(super) BTreeMap<&'static str, CollectedFamily>);

pub(super) struct CollectedFamily {
    pub(super) help: &'static str,
    pub(super) kind: &'static str,
    pub(super) series: Vec<(Labels, f64)>,
}

impl Collected {
    /// Adds a family of kind `gauge` or `counter` with the series it has now, in the order in which they are to be shown. No other metric
    /// may have its name.
    pub fn family(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        series: impl IntoIterator<Item = (Vec<(&'static str, String)>, f64)>,
    ) {
        let family = CollectedFamily { help, kind, series: Vec::new() };
        self.0.entry(name).or_insert(family).series.extend(series);
    }
}

/// A collector that is asked until this is dropped.
#[must_use]
pub struct Collector {
    registry: Arc<Registry>,
    collect: Collect,
}

impl Registry {
    /// From now on asks `collect` at each scrape. One with the same name is not asked any more: a reload puts the new configuration's in
    /// the place of the old one's.
    pub fn collector(
        self: &Arc<Self>,
        name: &'static str,
        collect: impl Fn(&mut Collected) + Send + Sync + 'static,
    ) -> Collector {
        let collect: Collect = Arc::new(collect);
        self.lock_collectors().insert(name, Arc::clone(&collect));
        Collector { registry: Arc::clone(self), collect }
    }

    /// Asks all collectors. Nothing is locked meanwhile.
    pub(super) fn collect(&self) -> Collected {
        let collectors: Vec<Collect> = self.lock_collectors().values().cloned().collect();
        let mut collected = Collected::default();
        collectors.iter().for_each(|collect| collect(&mut collected));
        collected
    }

    fn lock_collectors(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Collect>> {
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.registry.lock_collectors().retain(|_, collect| !Arc::ptr_eq(collect, &self.collect));
    }
}
