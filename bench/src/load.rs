//! Full load over UDP: a closed loop with a window.
//!
//! It mirrors the server: a batch of answers is received, checked, and each answer is replied to with the next question. So
//! the load costs about as much as the floor, and a server on the other CPU can be kept busy.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use periplus::sys::Batch;

use crate::Result;
use crate::question::Questions;

/// Questions under way at once.
pub(crate) const WINDOW: usize = 100;
/// An answer that takes longer is lost.
const LOST: Duration = Duration::from_millis(1000);
/// How often to look for lost ones.
const SWEEP: Duration = Duration::from_millis(100);
/// Bits of the id that say which slot of the window; those above tell a late answer from the one that is awaited.
const SLOT_BITS: u32 = 10;

/// What came of a run under full load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Questions sent.
    pub(crate) asked: u64,
    /// Right answers.
    pub(crate) answered: u64,
    /// Answers with an unexpected header.
    pub(crate) wrong: u64,
    /// Questions without an answer.
    pub(crate) lost: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

struct Slot {
    at: u64,
    generation: u16,
    sent: Instant,
}

/// Asks for `duration`. With `echo` any reply counts as right.
pub(crate) fn closed_loop(
    server: SocketAddr,
    questions: &mut Questions,
    duration: Duration,
    echo: bool,
) -> Result<Load> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(SWEEP))?;
    let begun = Instant::now();
    let mut load = Load::default();
    let mut window: Vec<Slot> =
        (0..WINDOW as u64).map(|at| Slot { at, generation: 0, sent: begun }).collect();
    let mut out = Vec::with_capacity(64 * 1024);
    for (index, slot) in window.iter().enumerate() {
        out.clear();
        questions.write(slot.at, index as u16, &mut out);
        socket.send_to(&out, server)?;
    }
    load.asked = WINDOW as u64;
    let mut batch = Batch::new();
    let mut swept = begun;
    loop {
        let received = batch.receive(&socket).unwrap_or(0);
        let now = Instant::now();
        if now - begun >= duration {
            load.elapsed = now - begun;
            questions.advance(load.asked);
            return Ok(load);
        }
        out.clear();
        for index in 0..received {
            let response = batch.request(index).0;
            let Some(&[high, low]) = response.first_chunk() else { continue };
            let id = u16::from_be_bytes([high, low]);
            let number = usize::from(id & ((1 << SLOT_BITS) - 1));
            let Some(slot) =
                window.get_mut(number).filter(|slot| slot.generation == id >> SLOT_BITS)
            else {
                continue;
            };
            if echo || questions.expected(slot.at).fits(response) {
                load.answered += 1;
            } else {
                load.wrong += 1;
            }
            let start = out.len();
            slot.renew(load.asked, now);
            load.asked += 1;
            questions.write(slot.at, slot.id(number), &mut out);
            batch.queue(index, start..out.len());
        }
        batch.send(&socket, &out);
        if now - swept >= SWEEP {
            swept = now;
            for (number, slot) in
                window.iter_mut().enumerate().filter(|(_, slot)| now - slot.sent >= LOST)
            {
                load.lost += 1;
                slot.renew(load.asked, now);
                load.asked += 1;
                out.clear();
                questions.write(slot.at, slot.id(number), &mut out);
                socket.send_to(&out, server)?;
            }
        }
    }
}

impl Slot {
    fn renew(&mut self, at: u64, now: Instant) {
        self.at = at;
        self.generation = (self.generation + 1) & ((1 << (16 - SLOT_BITS)) - 1);
        self.sent = now;
    }

    fn id(&self, number: usize) -> u16 {
        self.generation << SLOT_BITS | number as u16
    }
}
