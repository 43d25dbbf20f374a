//! Options of sockets: `ip(7)`, `ipv6(7)`, `sock_diag(7)`.
#![expect(unsafe_code, reason = "std has no such options; each block says what makes it sound")]

use std::io;
use std::mem::{size_of, size_of_val};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;

/// How many numbers `SO_MEMINFO` gives at the most, and what some of them are (`linux/sock_diag.h`).
const MEMINFO: usize = 16;
const RECEIVE_USED: usize = 0;
const RECEIVE_SIZE: usize = 1;
const SEND_USED: usize = 5;
const DROPS: usize = 8;

/// Asks the kernel to say which local address each datagram was sent to.
pub fn want_local_address(socket: &UdpSocket, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: the option value is an int that outlives the call, with its own size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many datagrams the kernel has dropped because the socket's buffer was full.
pub fn dropped_datagrams(socket: &UdpSocket) -> u32 {
    memory_information(socket)[DROPS]
}

/// Which part of the socket's receive buffer is in use.
pub fn receive_buffer_filled(socket: &UdpSocket) -> f32 {
    let information = memory_information(socket);
    information[RECEIVE_USED] as f32 / information[RECEIVE_SIZE].max(1) as f32
}

/// The memory that the kernel needs for what a TCP peer has not acknowledged yet.
pub fn unacknowledged(stream: &impl AsRawFd) -> usize {
    memory_information(stream)[SEND_USED] as usize
}

/// Zeros where the kernel does not tell.
fn memory_information(socket: &impl AsRawFd) -> [u32; MEMINFO] {
    let mut information = [0_u32; MEMINFO];
    let mut length = size_of_val(&information) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `information`, which is as large, and any bytes are numbers. An error
    // leaves it as it is.
    unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            ptr::from_mut(&mut information).cast(),
            ptr::from_mut(&mut length),
        );
    }
    information
}
