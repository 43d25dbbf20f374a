//! The end of what threads do beside a test.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets its flag when dropped: threads of a scope that wait for it end also when the test panics.
pub struct Done<'a>(pub &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
