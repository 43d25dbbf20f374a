//! Batches over connected sockets, and answers to requests of earlier batches.
#![expect(unsafe_code, reason = "std has no batch calls; each block says what makes it sound")]

use std::io;
use std::mem::zeroed;
use std::net::UdpSocket;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

use super::{BATCH, ReturnPath};

/// Room for the largest datagram.
const ROOM: usize = 65_536;

/// Buffers for what arrives at connected sockets.
pub struct Inbox {
    /// Pages that no datagram has reached take no memory.
    buffers: Box<[u8]>,
    lengths: [usize; Inbox::BATCH],
}

impl Inbox {
    /// Datagrams taken at once. The buffers stay below 2 MB, so that no huge page is made for them.
    pub const BATCH: usize = 24;

    /// Empty buffers.
    pub fn new() -> Inbox {
        Inbox { buffers: vec![0; Inbox::BATCH * ROOM].into(), lengths: [0; Inbox::BATCH] }
    }

    /// Takes what is there without waiting, and gives how many datagrams that is: fewer than [`Inbox::BATCH`] when nothing is left.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // SAFETY: all-zero is a valid mmsghdr and iovec (null pointers, zero lengths).
        let mut headers: [libc::mmsghdr; Inbox::BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut iovs: [libc::iovec; Inbox::BATCH] = unsafe { zeroed() };
        for ((header, iov), buffer) in
            headers.iter_mut().zip(&mut iovs).zip(self.buffers.chunks_exact_mut(ROOM))
        {
            *iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: ROOM };
            header.msg_hdr.msg_iov = iov;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header points to a buffer of its own that lives as long as `self`, with its true size; recvmmsg writes within
        // them.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                Inbox::BATCH as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        let received = received as usize;
        for (length, header) in self.lengths.iter_mut().zip(&headers).take(received) {
            *length = (header.msg_len as usize).min(ROOM);
        }
        Ok(received)
    }

    /// The datagram with this index.
    pub fn datagram(&self, index: usize) -> &[u8] {
        &self.buffers[index * ROOM..][..self.lengths[index]]
    }
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox::new()
    }
}

/// Sends up to [`BATCH`] datagrams over a connected socket without waiting. Gives how many went out, and why the next one did not.
pub fn send_connected<'a>(
    socket: &UdpSocket,
    datagrams: impl Iterator<Item = &'a [u8]>,
) -> (usize, Option<io::Error>) {
    // SAFETY: all-zero is a valid mmsghdr and iovec (null pointers, zero lengths).
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut iovs: [libc::iovec; BATCH] = unsafe { zeroed() };
    let mut count = 0;
    for ((header, iov), datagram) in headers.iter_mut().zip(&mut iovs).zip(datagrams) {
        *iov = readable(datagram);
        header.msg_hdr.msg_iov = iov;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    let mut done = 0;
    while done < count {
        match send(socket, &mut headers[done..count]) {
            Ok(sent) => done += sent,
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// Answers requests of earlier batches. Gives how many datagrams the system did not take, as `Batch::send` does.
pub fn send_late(
    socket: &UdpSocket,
    answers: &mut [(ReturnPath, Range<usize>)],
    bytes: &[u8],
) -> usize {
    let mut failed = 0;
    for answers in answers.chunks_mut(BATCH) {
        // SAFETY: all-zero is a valid mmsghdr and iovec (null pointers, zero lengths).
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut iovs: [libc::iovec; BATCH] = unsafe { zeroed() };
        let count = answers.len();
        for (((path, range), header), iov) in answers.iter_mut().zip(&mut headers).zip(&mut iovs) {
            *iov = readable(&bytes[range.clone()]);
            header.msg_hdr = path.header(iov);
        }
        let mut done = 0;
        while done < count {
            done += send(socket, &mut headers[done..count]).unwrap_or_else(|_| {
                // The first one is at fault: step over it.
                failed += 1;
                1
            });
        }
    }
    failed
}

fn readable(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// At least one datagram, without waiting, or why the first one cannot be sent.
fn send(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    loop {
        // SAFETY: the callers' headers point to buffers that outlive the call; sendmmsg only reads through them and writes msg_len.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as _,
                libc::MSG_DONTWAIT as _,
            )
        };
        if sent > 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
