//! `recvmmsg(2)`, `sendmmsg(2)` and `ip(7)`/`ipv6(7)` packet information.
#![expect(unsafe_code, reason = "std has no batch calls; each block says what makes it sound")]

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

use super::{BATCH, REQUEST_SIZE};

/// Room for one packet information message of either family, headers and alignment included.
const CONTROL: usize = 64;

/// A control buffer aligned as `cmsghdr` asks.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Where a request came from and where it was sent to: all it takes to answer it.
#[derive(Clone)]
pub struct ReturnPath {
    peer: libc::sockaddr_storage,
    peer_length: libc::socklen_t,
    control: Control,
    control_length: usize,
}

impl ReturnPath {
    /// Sends one response.
    pub fn send(&self, socket: &UdpSocket, response: &[u8]) -> io::Result<()> {
        let mut path = self.clone();
        let mut iov =
            libc::iovec { iov_base: response.as_ptr().cast_mut().cast(), iov_len: response.len() };
        let header = path.header(&mut iov);
        // SAFETY: `header` points to `path` and `iov`, which outlive the call; sendmsg only reads through them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Lets the kernel write an address and packet information of any length.
    fn make_ready(&mut self) {
        self.peer_length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        self.control_length = CONTROL;
    }

    pub(super) fn header(&mut self, iov: *mut libc::iovec) -> libc::msghdr {
        // SAFETY: all-zero is a valid msghdr (null pointers, zero lengths).
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = ptr::from_mut(&mut self.peer).cast();
        header.msg_namelen = self.peer_length;
        header.msg_iov = iov;
        header.msg_iovlen = 1;
        if self.control_length > 0 {
            header.msg_control = ptr::from_mut(&mut self.control).cast();
            header.msg_controllen = self.control_length as _;
        }
        header
    }

    fn peer(&self) -> Option<SocketAddr> {
        // SAFETY: the kernel filled the storage with an address of the family it names, and sockaddr_storage is
        // large enough and aligned for each.
        unsafe {
            match libc::c_int::from(self.peer.ss_family) {
                libc::AF_INET => {
                    let peer = &*ptr::from_ref(&self.peer).cast::<libc::sockaddr_in>();
                    let address = Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr));
                    Some(SocketAddr::new(address.into(), u16::from_be(peer.sin_port)))
                }
                libc::AF_INET6 => {
                    let peer = &*ptr::from_ref(&self.peer).cast::<libc::sockaddr_in6>();
                    let address = Ipv6Addr::from(peer.sin6_addr.s6_addr);
                    Some(SocketAddr::new(address.to_canonical(), u16::from_be(peer.sin6_port)))
                }
                _ => None,
            }
        }
    }

    /// Finds the address that was asked, and makes the control buffer fit for the answer: the interface is cleared
    /// unless the address is link-local, so that the answer takes the route the kernel chooses (RFC 3542 section 6.2).
    fn local(&mut self, header: &libc::msghdr) -> Option<IpAddr> {
        // SAFETY: the kernel wrote `msg_controllen` bytes of well-formed messages into `control`, to which `header` points; the CMSG
        // macros stay within them, and the data of each is as large as its type says. It may be unaligned, hence
        // read_unaligned and write_unaligned.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while !message.is_null() {
                let data = libc::CMSG_DATA(message);
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let mut info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                        info.ipi_ifindex = 0;
                        ptr::write_unaligned(data.cast(), info);
                        return Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let mut info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                        let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                        if !address.is_unicast_link_local() {
                            info.ipi6_ifindex = 0;
                            ptr::write_unaligned(data.cast(), info);
                        }
                        return Some(address.to_canonical());
                    }
                    _ => message = libc::CMSG_NXTHDR(header, message),
                }
            }
        }
        None
    }
}

/// Buffers for receiving and answering up to [`BATCH`] datagrams with two system calls.
///
/// What the kernel is told about them is written once. At one datagram per call, which is what a server that is not busy sees,
/// writing it anew for all [`BATCH`] took more instructions than the answer.
pub struct Batch {
    paths: Box<[ReturnPath; BATCH]>,
    locals: [Option<IpAddr>; BATCH],
    requests: Box<[[u8; REQUEST_SIZE]; BATCH]>,
    /// Point into `paths` and `iovs`; `iovs` into `requests`.
    headers: Box<[libc::mmsghdr; BATCH]>,
    iovs: Box<[libc::iovec; BATCH]>,
    /// How many headers the kernel has written to since they were made.
    received: usize,
    /// Responses that wait to be sent: index of the request and where the bytes stand.
    queued: Vec<(usize, Range<usize>)>,
    outgoing: Box<[libc::mmsghdr; BATCH]>,
    outgoing_iovs: Box<[libc::iovec; BATCH]>,
}

impl Batch {
    /// Empty buffers.
    pub fn new() -> Batch {
        // SAFETY: all-zero is a valid sockaddr_storage (family AF_UNSPEC).
        let peer = unsafe { MaybeUninit::<libc::sockaddr_storage>::zeroed().assume_init() };
        let path =
            ReturnPath { peer, peer_length: 0, control: Control([0; CONTROL]), control_length: 0 };
        // SAFETY: all-zero is a valid mmsghdr and iovec (null pointers, zero lengths).
        let (header, iov) = unsafe { (zeroed::<libc::mmsghdr>(), zeroed::<libc::iovec>()) };
        let mut batch = Batch {
            paths: Box::new(std::array::from_fn(|_| path.clone())),
            locals: [None; BATCH],
            requests: Box::new([[0; REQUEST_SIZE]; BATCH]),
            headers: Box::new([header; BATCH]),
            iovs: Box::new([iov; BATCH]),
            received: 0,
            queued: Vec::with_capacity(BATCH),
            outgoing: Box::new([header; BATCH]),
            outgoing_iovs: Box::new([iov; BATCH]),
        };
        let headers = batch.headers.iter_mut().zip(batch.iovs.iter_mut());
        let buffers = batch.requests.iter_mut().zip(batch.paths.iter_mut());
        for ((header, iov), (request, path)) in headers.zip(buffers) {
            *iov = libc::iovec { iov_base: request.as_mut_ptr().cast(), iov_len: REQUEST_SIZE };
            path.make_ready();
            header.msg_hdr = path.header(iov);
        }
        batch
    }

    /// Waits for at least one datagram and takes what is there. The socket's read time-out ends the wait with `WouldBlock`.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_WAITFORONE)
    }

    /// Takes what is there without waiting.
    pub fn receive_now(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_DONTWAIT)
    }

    fn receive_with(&mut self, socket: &UdpSocket, flags: libc::c_int) -> io::Result<usize> {
        // The kernel has shortened the lengths of the headers that it used.
        let used = std::mem::take(&mut self.received);
        for (header, path) in self.headers.iter_mut().zip(self.paths.iter_mut()).take(used) {
            path.make_ready();
            header.msg_hdr.msg_namelen = path.peer_length;
            header.msg_hdr.msg_controllen = path.control_length as _;
        }
        // SAFETY: each header points to buffers of its own in boxes that live as long as `self`, with their true sizes; recvmmsg
        // writes within them, and no reference to them is alive during the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as _,
                flags as _,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        self.received = received as usize;
        let paths = self.paths.iter_mut().zip(&mut self.locals);
        for (header, (path, local)) in self.headers.iter().zip(paths).take(self.received) {
            path.peer_length = header.msg_hdr.msg_namelen;
            #[allow(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
            let control_length = header.msg_hdr.msg_controllen as usize;
            path.control_length = control_length;
            *local = path.local(&header.msg_hdr);
        }
        Ok(self.received)
    }

    /// The request with this index, who sent it, and the local address if the kernel was asked for it.
    pub fn request(&self, index: usize) -> (&[u8], Option<SocketAddr>, Option<IpAddr>) {
        let length = (self.headers[index].msg_len as usize).min(REQUEST_SIZE);
        (&self.requests[index][..length], self.paths[index].peer(), self.locals[index])
    }

    /// How to answer the request with this index later.
    pub fn return_path(&self, index: usize) -> ReturnPath {
        self.paths[index].clone()
    }

    /// Queues a response to the request with this index; `response` is a range of the bytes given to [`Batch::send`].
    pub fn queue(&mut self, index: usize, response: Range<usize>) {
        self.queued.push((index, response));
    }

    /// Sends what was queued, without waiting. Gives how many datagrams the kernel did not take: such an error is normal for UDP (a
    /// full buffer, a peer that is gone) and concerns one datagram, never the others.
    pub fn send(&mut self, socket: &UdpSocket, responses: &[u8]) -> usize {
        let count = self.queued.len().min(BATCH);
        let outgoing = self.outgoing.iter_mut().zip(self.outgoing_iovs.iter_mut());
        for ((index, range), (header, iov)) in self.queued.drain(..).zip(outgoing) {
            let response = &responses[range];
            *iov = libc::iovec {
                iov_base: response.as_ptr().cast_mut().cast(),
                iov_len: response.len(),
            };
            header.msg_hdr = self.paths[index].header(iov);
        }
        let mut done = 0;
        let mut failed = 0;
        while done < count {
            // SAFETY: outgoing[done..count] point to `paths`, `outgoing_iovs` and `responses`, which outlive the call, as set up above;
            // sendmmsg only reads through them and writes msg_len.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.outgoing[done..count].as_mut_ptr(),
                    (count - done) as _,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if sent > 0 {
                done += sent as usize;
            } else if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                // The first one is at fault: step over it.
                done += 1;
                failed += 1;
            }
        }
        failed
    }
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}
