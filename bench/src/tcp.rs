//! Full load over one TCP connection: pipelined, a closed loop with a window.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;
use crate::load::Load;
use crate::question::Questions;

/// Questions under way at once: what a pipelining resolver holds.
const WINDOW: usize = 32;
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks for `duration`. A connection that the server closes is opened again, and what it owed counts as lost.
pub(crate) fn closed_loop(
    server: SocketAddr,
    questions: &mut Questions,
    duration: Duration,
) -> Result<Load> {
    let begun = Instant::now();
    let mut load = Load::default();
    while begun.elapsed() < duration {
        let before = load.answered;
        // A connection that ends in an error ends like one that was closed.
        let _ = connection(server, questions, begun + duration, &mut load);
        if load.answered == before && begun.elapsed() < duration {
            return Err(
                format!("{server}: a TCP connection ended before it gave any answer").into()
            );
        }
    }
    load.elapsed = begun.elapsed();
    questions.advance(load.asked);
    Ok(load)
}

fn connection(
    server: SocketAddr,
    questions: &Questions,
    end: Instant,
    load: &mut Load,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut slots: Vec<u64> = Vec::with_capacity(WINDOW);
    let mut out = Vec::new();
    for number in 0..WINDOW {
        slots.push(load.asked);
        push(questions, load.asked, number as u16, &mut out);
        load.asked += 1;
    }
    let mut received = Vec::new();
    let mut chunk = vec![0; 256 * 1024];
    while Instant::now() < end {
        let result = stream.write_all(&out).and_then(|()| stream.read(&mut chunk));
        let length = match result {
            Ok(length) if length > 0 => length,
            _ => {
                load.lost += WINDOW as u64;
                return result.map(|_| ());
            }
        };
        out.clear();
        received.extend_from_slice(&chunk[..length]);
        let mut at = 0;
        while let Some(response) = frame(&received[at..]) {
            at += 2 + response.len();
            let Some(&[high, low]) = response.first_chunk() else { continue };
            let id = u16::from_be_bytes([high, low]);
            let Some(slot) = slots.get_mut(usize::from(id)) else { continue };
            if questions.expected(*slot).fits(response) {
                load.answered += 1;
            } else {
                load.wrong += 1;
            }
            *slot = load.asked;
            push(questions, load.asked, id, &mut out);
            load.asked += 1;
        }
        received.drain(..at);
    }
    Ok(())
}

fn push(questions: &Questions, at: u64, id: u16, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    questions.write(at, id, out);
    let length = (out.len() - start - 2) as u16;
    out[start..start + 2].copy_from_slice(&length.to_be_bytes());
}

fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}
