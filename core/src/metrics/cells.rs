//! Counters and histograms spread over one cell per worker.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

thread_local! {
    /// Which cell this thread writes; 0 is everybody's.
    static CELL: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread's cell; 0 is everybody's.
#[inline]
pub(super) fn current_cell() -> usize {
    CELL.get()
}

/// Makes the calling thread the only writer of a cell until the guard is dropped. With more workers than cells, the
/// surplus share cell 0.
pub fn claim_cell(pool: &Arc<CellPool>) -> CellGuard {
    let index = pool.take();
    CELL.with(|cell| cell.set(index));
    CellGuard { pool: Arc::clone(pool), index }
}

/// The cells that no thread owns at the moment.
pub struct CellPool {
    free: std::sync::Mutex<Vec<usize>>,
    claimed: AtomicUsize,
}

impl CellPool {
    /// Cells 1 to `workers`.
    pub fn new(workers: usize) -> Arc<CellPool> {
        Arc::new(CellPool {
            free: std::sync::Mutex::new((1..=workers).rev().collect()),
            claimed: AtomicUsize::new(0),
        })
    }

    fn take(&self) -> usize {
        self.claimed.fetch_add(1, Relaxed);
        self.free.lock().ok().and_then(|mut free| free.pop()).unwrap_or(0)
    }
}

/// Gives the cell back when the thread ends.
pub struct CellGuard {
    pool: Arc<CellPool>,
    index: usize,
}

impl Drop for CellGuard {
    fn drop(&mut self) {
        CELL.with(|cell| cell.set(0));
        self.pool.claimed.fetch_sub(1, Relaxed);
        if self.index != 0
            && let Ok(mut free) = self.pool.free.lock()
        {
            free.push(self.index);
        }
    }
}

/// Adds to a cell: without a locked instruction where this thread is the only writer.
fn add(cell: &AtomicU64, index: usize, amount: u64) {
    if index == 0 {
        cell.fetch_add(amount, Relaxed);
    } else {
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }
}

/// One number per cache line, so that two workers never write the same one.
#[repr(align(64))]
#[derive(Default)]
struct Line(AtomicU64);

/// A number that only grows.
#[derive(Clone)]
pub struct Counter(Arc<[Line]>);

impl Counter {
    pub(super) fn new(cells: usize) -> Counter {
        Counter((0..cells).map(|_| Line::default()).collect())
    }

    /// A counter that no registry knows, for tests and for what is not exported.
    pub fn detached() -> Counter {
        Counter::new(1)
    }

    /// Counts `amount` more.
    pub fn add(&self, amount: u64) {
        let mut index = CELL.get();
        if index >= self.0.len() {
            index = 0;
        }
        add(&self.0[index].0, index, amount);
    }

    /// The sum over all cells.
    pub fn value(&self) -> u64 {
        self.0.iter().fold(0, |sum, line| sum.wrapping_add(line.0.load(Relaxed)))
    }
}

/// A number that goes up and down: the bits of an `f64`.
#[derive(Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Adds to it (negative amounts too).
    pub fn add(&self, amount: f64) {
        let _ = self
            .0
            .fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + amount).to_bits()));
    }

    /// Reads it.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

/// Observations counted by size class.
#[derive(Clone)]
pub struct Histogram {
    bounds: &'static [f64],
    cells: Arc<[Shard]>,
}

/// One worker's buckets and sum, on cache lines of their own.
#[repr(align(64))]
struct Shard {
    /// One bucket per bound, one for what is larger than all of them.
    buckets: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64], cells: usize) -> Histogram {
        let shard = || Shard {
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        };
        Histogram { bounds, cells: (0..cells).map(|_| shard()).collect() }
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let mut index = CELL.get();
        if index >= self.cells.len() {
            index = 0;
        }
        let shard = &self.cells[index];
        let bucket =
            self.bounds.iter().position(|&bound| value <= bound).unwrap_or(self.bounds.len());
        add(&shard.buckets[bucket], index, 1);
        let raised = |bits| (f64::from_bits(bits) + value).to_bits();
        if index == 0 {
            let _ = shard.sum.fetch_update(Relaxed, Relaxed, |bits| Some(raised(bits)));
        } else {
            shard.sum.store(raised(shard.sum.load(Relaxed)), Relaxed);
        }
    }

    /// Upper bounds of the buckets.
    pub fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// Counts per bucket (not cumulated; the last one is above all bounds) and the sum of all observations.
    pub fn snapshot(&self) -> (Vec<u64>, f64) {
        let mut counts = vec![0_u64; self.bounds.len() + 1];
        let mut sum = 0.0;
        for shard in self.cells.iter() {
            for (count, bucket) in counts.iter_mut().zip(&shard.buckets) {
                *count += bucket.load(Relaxed);
            }
            sum += f64::from_bits(shard.sum.load(Relaxed));
        }
        (counts, sum)
    }
}
