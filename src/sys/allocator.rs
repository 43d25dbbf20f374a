//! What the allocator keeps for later.

#[cfg(target_env = "gnu")]
use std::hint::black_box;
#[cfg(target_env = "gnu")]
use std::sync::atomic::{AtomicU32, Ordering};

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

/// How often memory was given back. There is one allocator for all, as there is one of these.
#[cfg(target_env = "gnu")]
static GIVEN_BACK: AtomicU32 = AtomicU32::new(0);

/// Gives memory that nobody uses back to the system, as far as the C library knows how to.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "std has no such call; the block says what makes it sound")]
pub fn give_back_memory() {
    // SAFETY: it takes no pointer and may be called from any thread at any time (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
    GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
}

/// Nothing to be done: the allocator gives back by itself, or there is no way to tell it.
#[cfg(not(target_env = "gnu"))]
pub fn give_back_memory() {}

/// Small sizes of which the C library keeps freed blocks for each thread, in bytes and as it rounds them up (glibc's `tcache`).
#[cfg(target_env = "gnu")]
const SMALL: std::ops::RangeInclusive<usize> = 24..=1032;
/// Blocks of each that it keeps at most: 7, from version 2.42 on 16.
#[cfg(target_env = "gnu")]
const KEPT: usize = 16;

/// The small blocks that the allocator keeps for one thread alone. After a flood they lie scattered over all that it took, and each keeps its
/// page: [`give_back_memory`] cannot tell them from those in use.
#[derive(Default)]
pub struct SmallBlocks {
    /// As often as memory was given back when they were let go of.
    #[cfg(target_env = "gnu")]
    let_go: u32,
}

impl SmallBlocks {
    /// Has the allocator let go of this thread's, if memory was given back since: the next time it will have their pages too.
    #[cfg(target_env = "gnu")]
    pub fn follow(&mut self) {
        let given_back = GIVEN_BACK.load(Ordering::Relaxed);
        if given_back == self.let_go {
            return;
        }
        self.let_go = given_back;
        let blocks: Vec<Vec<u8>> = SMALL
            .step_by(16)
            .flat_map(|size| std::iter::repeat_n(size, KEPT))
            .map(|size| black_box(Vec::with_capacity(size)))
            .collect();
        // Freed here they would be kept here again. Those of a thread that ends are nobody's.
        let _ = std::thread::Builder::new().spawn(move || drop(blocks));
    }

    /// Nothing to be done.
    #[cfg(not(target_env = "gnu"))]
    pub fn follow(&mut self) {}
}
