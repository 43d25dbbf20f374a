//! What the allocator keeps for later.

/// What is larger than this goes back to the system as soon as it is freed. Left alone, the C library raises the limit with what is freed, and
/// then keeps buffers of long answers between small things that live on.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 64 << 10;

/// Has the allocator keep little, as far as the C library knows how to.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "std has no such call; the block says what makes it sound")]
pub fn keep_little() {
    // SAFETY: it takes no pointer and may be called from any thread at any time (mallopt(3)).
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Nothing to be done.
#[cfg(not(target_env = "gnu"))]
pub fn keep_little() {}

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
