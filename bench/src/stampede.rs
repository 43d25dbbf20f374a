//! Ten thousand identical questions at once for a name that is not in the cache, while the upstream takes its time.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::question::Questions;
use crate::upstream::Upstream;

const SOCKETS: usize = 100;
/// Questions of each socket: as many answers as a socket's buffer surely holds.
const EACH: usize = 100;
/// Questions between two pauses, and the pause: all are sent in half of the time that the upstream takes.
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(1);
/// How long to wait for answers.
const PATIENCE: Duration = Duration::from_secs(4);

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stampede {
    /// Questions asked.
    pub(crate) asked: u64,
    /// The right answers.
    pub(crate) answered: u64,
    /// Other answers: refusals and failures.
    pub(crate) refused: u64,
    /// Questions that the upstream saw.
    pub(crate) upstream: u64,
    /// Seconds from the first question to the last answer.
    pub(crate) seconds: f64,
}

/// Asks the next name of `questions` ten thousand times.
pub(crate) fn stampede(
    server: SocketAddr,
    questions: &mut Questions,
    upstream: &Upstream,
) -> Result<Stampede> {
    upstream.take_slow();
    let sockets: Vec<UdpSocket> = (0..SOCKETS)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .collect::<Result<_>>()?;
    let begun = Instant::now();
    let mut result = Stampede::default();
    let mut message = Vec::new();
    for number in 0..SOCKETS * EACH {
        message.clear();
        questions.write(0, number as u16, &mut message);
        // A full buffer is a question without an answer.
        let _ = sockets[number % SOCKETS].send(&message);
        result.asked += 1;
        if number % BURST == 0 {
            std::thread::sleep(PAUSE);
        }
    }
    let mut response = [0; 512];
    while result.answered + result.refused < result.asked && begun.elapsed() < PATIENCE {
        for socket in &sockets {
            while let Ok(length) = socket.recv(&mut response) {
                if questions.expected(0).fits(&response[..length]) {
                    result.answered += 1;
                } else {
                    result.refused += 1;
                }
                result.seconds = begun.elapsed().as_secs_f64();
            }
        }
        std::thread::sleep(PAUSE);
    }
    questions.advance(1);
    result.upstream = upstream.take_slow();
    Ok(result)
}
