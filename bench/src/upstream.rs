//! A scripted upstream resolver: one A record for every name, at once or after a while.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use periplus::sys::Batch;

use crate::Result;

/// Names under this are answered late.
pub(crate) const SLOW: &str = "slow.test.";
/// How late.
pub(crate) const DELAY: Duration = Duration::from_millis(1000);
/// TTL of every answer in seconds: longer than any run.
const TTL: u32 = 3600;

/// A running upstream; it serves until the process ends.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    slow: Arc<AtomicU64>,
}

impl Upstream {
    /// Serves on a free loopback port.
    pub(crate) fn start() -> Result<Upstream> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
        let address = socket.local_addr()?;
        let slow = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&slow);
        thread::spawn(move || serve(&socket, &counter));
        Ok(Upstream { address, slow })
    }

    /// Questions for slow names that arrived since the last call.
    pub(crate) fn take_slow(&self) -> u64 {
        self.slow.swap(0, Ordering::Relaxed)
    }
}

fn serve(socket: &Arc<UdpSocket>, slow: &AtomicU64) {
    let mut batch = Batch::new();
    let mut responses = Vec::new();
    loop {
        let Ok(count) = batch.receive(socket) else { continue };
        responses.clear();
        let mut late = Vec::new();
        for index in 0..count {
            let (request, _, _) = batch.request(index);
            let start = responses.len();
            if !answer(request, &mut responses) {
                continue;
            }
            if is_slow(request) {
                slow.fetch_add(1, Ordering::Relaxed);
                late.push((batch.return_path(index), responses.split_off(start)));
            } else {
                batch.queue(index, start..responses.len());
            }
        }
        batch.send(socket, &responses);
        if !late.is_empty() {
            let socket = Arc::clone(socket);
            thread::spawn(move || {
                thread::sleep(DELAY);
                for (path, response) in late {
                    // Whoever asked may be gone.
                    let _ = path.send(&socket, &response);
                }
            });
        }
    }
}

fn is_slow(request: &[u8]) -> bool {
    request.windows(10).any(|window| window == b"\x04slow\x04test")
}

/// The question and one A record; NODATA for other types.
fn answer(request: &[u8], out: &mut Vec<u8>) -> bool {
    let mut end = 12;
    while let Some(&length) = request.get(end).filter(|length| **length != 0) {
        end += 1 + usize::from(length);
    }
    end += 5;
    let Some(question) = request.get(12..end) else { return false };
    let is_a = question.ends_with(&[0, 1, 0, 1]);
    out.extend_from_slice(&[
        request[0],
        request[1],
        0x81,
        0x80,
        0,
        1,
        0,
        u8::from(is_a),
        0,
        0,
        0,
        0,
    ]);
    out.extend_from_slice(question);
    if is_a {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        out.extend_from_slice(&TTL.to_be_bytes());
        out.extend_from_slice(&[0, 4, 192, 0, 2, 1]);
    }
    true
}
