//! Latency over UDP: an open loop at a fixed rate.
//!
//! Each question has a time at which it is due, and its latency counts from then, whether or not it could be sent in time: a server
//! that stalls is charged for all questions that came due meanwhile (no coordinated omission).

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use periplus::sys::Batch;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::question::Questions;

/// How long to wait for the last answers; who has not answered by then counts with this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What came of a run at a fixed rate.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Questions asked, and those never answered.
    pub(crate) asked: u64,
    pub(crate) lost: u64,
    /// How late the load itself was in 99 of 100 cases: what of the figures above may be its own.
    pub(crate) late_p99: f64,
}

/// Asks at `rate` per second for `duration`. `polite` leaves the CPU to others between questions: to a scripted upstream.
pub(crate) fn open_loop(
    server: SocketAddr,
    questions: &mut Questions,
    rate: u32,
    duration: Duration,
    polite: bool,
) -> Result<Latency> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let total = (f64::from(rate) * duration.as_secs_f64()) as u64;
    let interval = Duration::from_secs(1) / rate;
    let due = |at: u64| interval * u32::try_from(at).unwrap_or(u32::MAX);
    let mut latencies = vec![PATIENCE; total as usize];
    let mut late = vec![Duration::ZERO; total as usize];
    let mut answered = 0;
    let mut asked = 0;
    let mut out = Vec::with_capacity(512);
    let mut batch = Batch::new();
    let begun = Instant::now();
    while answered < total && begun.elapsed() < duration + PATIENCE {
        while asked < total && due(asked) <= begun.elapsed() {
            out.clear();
            questions.write(asked, asked as u16, &mut out);
            // A full buffer is a lost question.
            let _ = socket.send_to(&out, server);
            late[asked as usize] = begun.elapsed() - due(asked);
            asked += 1;
        }
        let received = batch.receive(&socket).unwrap_or(0);
        let now = begun.elapsed();
        for index in 0..received {
            let Some(&[high, low]) = batch.request(index).0.first_chunk() else { continue };
            // The newest question with this id.
            let back = u64::from(
                (asked as u16).wrapping_sub(1).wrapping_sub(u16::from_be_bytes([high, low])),
            );
            let Some(at) = asked.checked_sub(1 + back) else { continue };
            if latencies[at as usize] == PATIENCE {
                latencies[at as usize] = now.saturating_sub(due(at));
                answered += 1;
            }
        }
        if polite && received == 0 {
            std::thread::yield_now();
        }
    }
    questions.advance(asked);
    latencies.sort_unstable();
    late.sort_unstable();
    let at = |sorted: &[Duration], share: f64| {
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    Ok(Latency {
        p50: at(&latencies, 0.5),
        p99: at(&latencies, 0.99),
        p999: at(&latencies, 0.999),
        asked,
        lost: asked - answered,
        late_p99: at(&late, 0.99),
    })
}
