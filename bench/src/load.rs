//! Full load over UDP: a closed loop with a window.
//!
//! It mirrors the server: a batch of answers is received, checked, and each answer is replied to with the next question. So
//! the load costs about as much as the floor, and a server on the other CPU can be kept busy.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use periplus::sys::Batch;

use crate::question::Questions;
use crate::{Result, wait};

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

/// One socket and the questions that are under way on it.
struct Lane {
    socket: UdpSocket,
    batch: Batch,
    window: Vec<Slot>,
    out: Vec<u8>,
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
    let begun = Instant::now();
    let mut load = Load::default();
    let mut lane = Lane::open(server, questions, WINDOW, &mut load)?;
    lane.socket.set_read_timeout(Some(SWEEP))?;
    let mut swept = begun;
    loop {
        let now = lane.turn(questions, &mut load, echo).1;
        if now - begun >= duration {
            load.elapsed = now - begun;
            questions.advance(load.asked);
            return Ok(load);
        }
        if now - swept >= SWEEP {
            swept = now;
            lane.sweep(server, questions, &mut load, now)?;
        }
    }
}

/// The same from as many sockets as `lanes`, so that the kernel can divide the questions among several workers of a server.
pub(crate) fn closed_loop_of(
    lanes: usize,
    window: usize,
    server: SocketAddr,
    questions: &mut Questions,
    duration: Duration,
) -> Result<Load> {
    let begun = Instant::now();
    let mut load = Load::default();
    let mut all = Vec::with_capacity(lanes);
    for _ in 0..lanes {
        let lane = Lane::open(server, questions, window, &mut load)?;
        lane.socket.set_nonblocking(true)?;
        all.push(lane);
    }
    let mut swept = begun;
    loop {
        let mut received = 0;
        for lane in &mut all {
            received += lane.turn(questions, &mut load, false).0;
        }
        let now = Instant::now();
        if now - begun >= duration {
            load.elapsed = now - begun;
            questions.advance(load.asked);
            return Ok(load);
        }
        if now - swept >= SWEEP {
            swept = now;
            for lane in &mut all {
                lane.sweep(server, questions, &mut load, now)?;
            }
        }
        if received == 0 {
            wait::readable(all.iter().map(|lane| &lane.socket), SWEEP);
        }
    }
}

impl Lane {
    /// Sends the first questions.
    fn open(
        server: SocketAddr,
        questions: &Questions,
        window: usize,
        load: &mut Load,
    ) -> Result<Lane> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let (now, first) = (Instant::now(), load.asked);
        let window: Vec<Slot> =
            (first..).take(window).map(|at| Slot { at, generation: 0, sent: now }).collect();
        let mut out = Vec::with_capacity(64 * 1024);
        for (index, slot) in window.iter().enumerate() {
            out.clear();
            questions.write(slot.at, index as u16, &mut out);
            socket.send_to(&out, server)?;
        }
        load.asked += window.len() as u64;
        Ok(Lane { socket, batch: Batch::new(), window, out })
    }

    /// Takes the answers that are there and sends as many questions; gives their number, and the time.
    fn turn(&mut self, questions: &Questions, load: &mut Load, echo: bool) -> (usize, Instant) {
        let Lane { socket, batch, window, out } = self;
        let received = batch.receive(socket).unwrap_or(0);
        let now = Instant::now();
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
            questions.write(slot.at, slot.id(number), out);
            batch.queue(index, start..out.len());
        }
        batch.send(socket, out);
        (received, now)
    }

    /// Gives up questions that nobody answers, and asks others.
    fn sweep(
        &mut self,
        server: SocketAddr,
        questions: &Questions,
        load: &mut Load,
        now: Instant,
    ) -> Result<()> {
        for (number, slot) in
            self.window.iter_mut().enumerate().filter(|(_, slot)| now - slot.sent >= LOST)
        {
            load.lost += 1;
            slot.renew(load.asked, now);
            load.asked += 1;
            self.out.clear();
            questions.write(slot.at, slot.id(number), &mut self.out);
            self.socket.send_to(&self.out, server)?;
        }
        Ok(())
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
