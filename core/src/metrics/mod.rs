//! Metrics without a shared counter on the path of a query.
//!
//! ```text
//! worker 1 -> cell 1 \
//! worker 2 -> cell 2  >- summed when somebody scrapes -> text exposition
//! others   -> cell 0 /
//! ```
//!
//! Each worker thread owns one cell of every counter and histogram and writes it without a locked instruction; all other
//! threads share cell 0. Handles are made when the configuration is read, so that counting needs no look-up. The registry
//! belongs to the process: asking again for the same name and labels, as a reload does, gives the same cells back.

mod cells;
mod collector;
mod exposition;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use cells::{CellGuard, CellPool, Counter, Gauge, Histogram, claim_cell};
use collector::Collect;
pub use collector::{Collected, Collector};
pub use workers::PerWorker;

/// CoreDNS's buckets for durations, in seconds: 0.00025 x 2^0 .. 2^15.
pub const DURATION_BUCKETS: [f64; 16] = [
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024,
    2.048, 4.096, 8.192,
];
/// CoreDNS's buckets for durations that matter less: 0.00025 x 10^0 .. 10^4.
pub const SLIM_DURATION_BUCKETS: [f64; 5] = [0.00025, 0.0025, 0.025, 0.25, 2.5];
/// CoreDNS's buckets for message sizes, in bytes.
pub const SIZE_BUCKETS: [f64; 14] =
    [0., 100., 200., 300., 400., 511., 1023., 2047., 4095., 8291., 16000., 32000., 48000., 64000.];

/// All metrics of the process.
pub struct Registry {
    cells: usize,
    families: Mutex<BTreeMap<&'static str, Family>>,
    collectors: Mutex<BTreeMap<&'static str, Collect>>,
}

struct Family {
    help: &'static str,
    kind: &'static str,
    series: BTreeMap<Labels, Series>,
}

type Labels = Vec<(&'static str, String)>;

#[derive(Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
    /// Read from its source at each scrape.
    Computed(Arc<dyn Fn() -> f64 + Send + Sync>),
    /// Read from all its sources at each scrape.
    ComputedOfAll(Worse, Vec<Source>),
}

/// Which of two values counts.
type Worse = fn(f64, f64) -> f64;

/// One of several sources of a value; `None` once it has ended.
type Source = Arc<dyn Fn() -> Option<f64> + Send + Sync>;

impl Registry {
    /// A registry with a cell for each of `workers` worker threads.
    pub fn new(workers: usize) -> Registry {
        Registry { cells: workers + 1, families: Mutex::default(), collectors: Mutex::default() }
    }

    /// The counter with this name and these labels.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Counter {
        match self
            .series(name, help, "counter", labels, || Series::Counter(Counter::new(self.cells)))
        {
            Series::Counter(counter) => counter,
            _ => Counter::new(self.cells),
        }
    }

    /// The gauge with this name and these labels.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Gauge {
        match self.series(name, help, "gauge", labels, || Series::Gauge(Gauge::default())) {
            Series::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// The histogram with this name and these labels. All of one name must have the same bounds.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: &[(&'static str, &str)],
    ) -> Histogram {
        match self.series(name, help, "histogram", labels, || {
            Series::Histogram(Histogram::new(bounds, self.cells))
        }) {
            Series::Histogram(histogram) => histogram,
            _ => Histogram::new(bounds, self.cells),
        }
    }

    /// A metric of kind `gauge` or `counter` whose value is asked for at each scrape. Replaces an earlier source with the same name
    /// and labels.
    pub fn computed(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &[(&'static str, &str)],
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.remove(name, labels);
        self.series(name, help, kind, labels, || Series::Computed(Arc::new(value)));
    }

    /// The same for several sources with the same name and labels that come and go: of those that have not ended (`None`) the worst value
    /// counts. Without any there is no series.
    pub fn computed_of_all(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &[(&'static str, &str)],
        worse: fn(f64, f64) -> f64,
        value: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let none = || Series::ComputedOfAll(worse, Vec::new());
        self.with_series(name, help, kind, labels, none, |series| {
            if let Series::ComputedOfAll(_, sources) = series {
                sources.retain(|source| source().is_some());
                sources.push(Arc::new(value));
            }
        });
    }

    /// Forgets one series, for labels that carry a value which has changed.
    pub fn remove(&self, name: &'static str, labels: &[(&'static str, &str)]) {
        if let Some(family) = self.lock().get_mut(name) {
            family.series.remove(&owned(labels));
        }
    }

    /// How many threads can have a cell of their own.
    pub fn workers(&self) -> usize {
        self.cells - 1
    }

    /// Names of all families that exist so far.
    pub fn names(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    fn series(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &[(&'static str, &str)],
        make: impl FnOnce() -> Series,
    ) -> Series {
        self.with_series(name, help, kind, labels, make, |series| series.clone())
    }

    fn with_series<R>(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &[(&'static str, &str)],
        make: impl FnOnce() -> Series,
        then: impl FnOnce(&mut Series) -> R,
    ) -> R {
        let mut families = self.lock();
        let family =
            families.entry(name).or_insert_with(|| Family { help, kind, series: BTreeMap::new() });
        debug_assert_eq!(family.kind, kind, "{name} is registered twice, with different kinds");
        then(family.series.entry(owned(labels)).or_insert_with(make))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}
