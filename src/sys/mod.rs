//! The system calls that std and tokio do not offer, behind a safe face: datagrams in batches, the local address each was sent to, how many were
//! lost, and memory that is given back.
//!
//! Linux has `recvmmsg`, `sendmmsg` and packet information; elsewhere `portable` does one datagram at a time, so that the
//! project builds and its tests run, without the source address on wildcard sockets.

mod allocator;
#[cfg(target_os = "linux")]
mod connected;
#[cfg(target_os = "linux")]
mod linux;
mod open_files;
#[cfg(target_os = "linux")]
mod socket;

pub use allocator::{SmallBlocks, give_back_memory, keep_little};
#[cfg(target_os = "linux")]
pub use connected::{Inbox, send_connected, send_late};
#[cfg(target_os = "linux")]
pub use linux::{Batch, ReturnPath};
pub use open_files::raise_open_files;
#[cfg(target_os = "linux")]
pub use socket::{dropped_datagrams, receive_buffer_filled, unacknowledged, want_local_address};

#[cfg(all(test, target_os = "linux"))]
mod tests;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub use portable::{
    Batch, Inbox, ReturnPath, dropped_datagrams, receive_buffer_filled, send_connected, send_late,
    unacknowledged, want_local_address,
};

/// Most bytes of a request datagram. CoreDNS reads 512 (RFC 1035 section 4.2.1) and so do we: what is longer is cut, and
/// answered with FORMERR.
pub const REQUEST_SIZE: usize = 512;
/// Datagrams taken per system call. Beyond some tens the cost per datagram no longer falls (kernel work dominates).
pub const BATCH: usize = 32;
