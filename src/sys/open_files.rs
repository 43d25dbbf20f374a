//! How many files the process may open.

/// Raises the limit to the most that the process may raise it to, as Go does at the start of each program, and gives what it is then.
/// Each socket is a file, and the usual limit of 1,024 is for programs that use `select`.
#[expect(unsafe_code, reason = "std has no such call; the block says what makes it sound")]
pub fn raise_open_files() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a whole `rlimit` that lives through them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return usize::MAX;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            limit = raised;
        }
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}
