//! What the allocator keeps for later.

/// Gives memory that nobody uses back to the system, as far as the C library knows how to.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "std has no such call; the block says what makes it sound")]
pub fn give_back_memory() {
    // SAFETY: it takes no pointer and may be called from any thread at any time (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

/// Nothing to be done: the allocator gives back by itself, or there is no way to tell it.
#[cfg(not(target_env = "gnu"))]
pub fn give_back_memory() {}
