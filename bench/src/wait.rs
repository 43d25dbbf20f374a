//! Waiting for an answer without keeping the CPU from others.

use std::net::UdpSocket;
use std::time::Duration;

/// Waits until one of the sockets has something to read, but no longer than `time`, which is kept to some tens of microseconds.
#[cfg(target_os = "linux")]
pub(crate) fn readable<'a>(sockets: impl Iterator<Item = &'a UdpSocket>, time: Duration) {
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, ppoll};
    let mut polled: Vec<PollFd<'_>> =
        sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    // An error is a wait that was too short.
    let _ = ppoll(&mut polled, Some(time.into()), None);
}

/// The same, as well as it can be done elsewhere.
#[cfg(not(target_os = "linux"))]
pub(crate) fn readable<'a>(_sockets: impl Iterator<Item = &'a UdpSocket>, _time: Duration) {
    std::thread::yield_now();
}
