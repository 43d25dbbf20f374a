//! The floor: the server's own receive and send loop with nothing in between.

use std::net::{SocketAddr, UdpSocket};

use periplus::sys::Batch;

use crate::Result;

/// Sends every datagram back with QR set, until the process is killed.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(listen)?;
    let mut batch = Batch::new();
    let mut responses = Vec::with_capacity(64 * 1024);
    loop {
        let count = batch.receive(&socket)?;
        responses.clear();
        for index in 0..count {
            let start = responses.len();
            responses.extend_from_slice(batch.request(index).0);
            if let Some(flags) = responses.get_mut(start + 2) {
                *flags |= 0x80;
            }
            batch.queue(index, start..responses.len());
        }
        batch.send(&socket, &responses);
    }
}
