//! Whether the process is worth keeping, as far as it can tell itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What keeps the process from doing its work and will not pass by itself. Written by whoever watches the process, read by `health`.
#[derive(Default)]
pub struct Liveness {
    troubles: Mutex<Vec<String>>,
}

impl Liveness {
    /// Says what is wrong now, one line each; nothing: the process lives. What was said before is forgotten.
    pub fn set_troubles(&self, troubles: Vec<String>) {
        *self.lock() = troubles;
    }

    /// What is wrong, one line each.
    pub fn troubles(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
