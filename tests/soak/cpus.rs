//! CPUs apart from each other: one for a server, the others for what asks it.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread, and what it starts, from the server's CPU until it is dropped.
pub(crate) struct Apart {
    /// The server's CPU.
    pub(crate) own: usize,
    usual: CpuSet,
}

impl Apart {
    /// The first CPU that this thread may use is the server's. A machine with only one is shared.
    pub(crate) fn new() -> Apart {
        let usual = sched_getaffinity(None).expect("a thread may ask for its CPUs");
        let own = (0..CpuSet::MAX_CPU).find(|cpu| usual.is_set(*cpu)).unwrap_or_default();
        let mut others = usual;
        others.unset(own);
        if others.count() > 0 {
            sched_setaffinity(None, &others).expect("a thread may leave a CPU");
        }
        Apart { own, usual }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.usual);
    }
}
