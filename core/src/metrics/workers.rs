//! A value per worker, for what is more than a number.

use std::sync::{Mutex, OnceLock, TryLockError};

use super::Registry;
use super::cells::current_cell;

/// How often a thread without a value of its own looks whether the shared one is free.
const MOST_TRIES: usize = 100;

/// One `T` for each worker, made when the worker first writes it, and one that all other threads share.
///
/// Each has one writer at a time, so that a `T` made of atomics can be changed with plain loads and stores. Readers may look at
/// any time and see a change half done: what a torn state looks like is for `T` to settle.
pub struct PerWorker<T> {
    /// The shared one first. Boxed, so that no two workers write the same cache line.
    values: Box<[OnceLock<Box<T>>]>,
    shared: Mutex<()>,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

impl Registry {
    /// One value for each thread that has a cell of its own, and one for all others.
    pub fn per_worker<T>(&self, make: impl Fn() -> T + Send + Sync + 'static) -> PerWorker<T> {
        PerWorker {
            values: (0..self.cells).map(|_| OnceLock::new()).collect(),
            shared: Mutex::new(()),
            make: Box::new(make),
        }
    }
}

impl<T> PerWorker<T> {
    /// Gives the calling thread its value to write, and says whether it did.
    ///
    /// Nobody waits here for a thread that sleeps: where the shared value stays taken, nothing is written.
    #[inline]
    pub fn write(&self, write: impl FnOnce(&T)) -> bool {
        match current_cell() {
            index if index != 0 && index < self.values.len() => write(self.value(index)),
            _ => return self.write_shared(write),
        }
        true
    }

    #[cold]
    fn write_shared(&self, write: impl FnOnce(&T)) -> bool {
        for _ in 0..MOST_TRIES {
            let _turn = match self.shared.try_lock() {
                Ok(turn) => turn,
                // A writer that panicked leaves a torn state, which readers are prepared for.
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    std::hint::spin_loop();
                    continue;
                }
            };
            write(self.value(0));
            return true;
        }
        false
    }

    #[inline]
    fn value(&self, index: usize) -> &T {
        self.values[index].get_or_init(|| Box::new((self.make)()))
    }

    /// All values there are, to be read.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter().filter_map(|value| value.get().map(|value| &**value))
    }
}
