//! Which question is under way on which socket.
//!
//! ```text
//! Pool (one per server) -> Carrier (a connected socket) -> (id, slot) of each question it carries -> Slot
//! ```
//!
//! A socket carries several questions, each under an id of its own from a secure generator. Which of a server's sockets the next batch
//! uses is chosen at random, and none is used for long: a stranger has to guess port and id together (RFC 5452), and has little
//! time to find a port out. A socket at which something arrived that no question there waits for, or where a question timed out,
//! carries no further one.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use periplus_core::exchange::{Endpoint, Fault, FaultKind, Ticket, Times};
use periplus_core::query::HEADER;
use periplus_core::random;
use slab::Slab;

use super::carrier::{Arrived, Carrier, MOST_USES, connected};
use crate::sys::{BATCH, Inbox, send_connected};

/// Sockets kept for one server by one worker.
const MOST_SOCKETS: usize = 16;
/// Datagrams that no question waited for before all questions of a socket are given up. There are more late answers than this only if
/// somebody guesses: a socket has no more questions to be late for.
const MOST_FOREIGN: u16 = 100;
/// Deadlines are looked at no more often than this.
const GRAIN: Duration = Duration::from_millis(5);
/// Places that are worth keeping, with a buffer each, for the next questions.
const FEW: usize = 256;
/// How long a failed exchange is kept for who asked.
const FORGET: Duration = Duration::from_secs(10);

/// All sockets and exchanges of a worker.
#[derive(Default)]
pub(super) struct Book {
    pools: Vec<Pool>,
    carriers: Slab<Carrier>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Counts the exchanges: two in the same slot have different numbers.
    generation: u32,
    /// The questions that wait to be sent.
    outgoing: Vec<u8>,
    /// Sockets that have some.
    unsent: Vec<usize>,
    next_deadline: Option<Instant>,
}

/// The sockets for one server.
struct Pool {
    endpoint: Weak<Endpoint>,
    sockets: Vec<usize>,
    /// The one that this batch uses.
    current: Option<usize>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    exchange: Option<Entry>,
    arrived: Arrived,
}

struct Entry {
    carrier: usize,
    times: Times,
    /// The patience is over, and who waits does not know it yet.
    late: bool,
    waker: Option<Waker>,
    fault: Option<Fault>,
}

impl Entry {
    /// When something has to be done about it.
    fn due(&self) -> Instant {
        let Times { patience, deadline } = self.times;
        patience.map_or(deadline, |patience| patience.min(deadline))
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl Book {
    /// Queues a question. Gives its slot with its generation, and whether the socket had been used before.
    pub(super) fn start(
        &mut self,
        endpoint: &Arc<Endpoint>,
        datagram: &[u8],
        times: Times,
        now: Instant,
        watch: impl FnOnce(&UdpSocket, usize) -> io::Result<()>,
    ) -> Result<(u32, u32, bool), Fault> {
        let id = datagram.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        let pool = self.pool(endpoint);
        let (number, reused) = match self.choose(pool, endpoint, id, now) {
            Some(number) => (number, true),
            None => match self.open(pool, endpoint, now, watch) {
                Ok(number) => (number, false),
                // A port that is known better than others is better than no answer.
                Err(fault) => (self.any(pool, endpoint, id, now).ok_or(fault)?, true),
            },
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let carrier = &mut self.carriers[number];
        if carrier.queued.is_empty() {
            self.unsent.push(number);
        }
        let start = self.outgoing.len();
        self.outgoing.extend_from_slice(datagram);
        carrier.queued.push((id, index, start..self.outgoing.len()));
        carrier.uses += 1;
        carrier.used = now;
        let slot = &mut self.slots[index as usize];
        let entry = Entry { carrier: number, times, late: false, waker: None, fault: None };
        let due = entry.due();
        slot.exchange = Some(entry);
        slot.generation = self.generation;
        self.generation = self.generation.wrapping_add(1);
        self.next_deadline = Some(self.next_deadline.map_or(due, |next| next.min(due)));
        Ok((index, slot.generation, reused))
    }

    fn pool(&mut self, endpoint: &Arc<Endpoint>) -> usize {
        let found =
            self.pools.iter().position(|pool| pool.endpoint.as_ptr() == Arc::as_ptr(endpoint));
        found.unwrap_or_else(|| {
            let endpoint = Arc::downgrade(endpoint);
            self.pools.push(Pool { endpoint, sockets: Vec::new(), current: None });
            self.pools.len() - 1
        })
    }

    /// A socket for the next question: the one of this batch, or any. `None`: a new one is to be made.
    fn choose(&mut self, pool: usize, endpoint: &Endpoint, id: u16, now: Instant) -> Option<usize> {
        let current = self.pools[pool].current;
        if let Some(number) = current
            && self.carriers[number].takes(id)
        {
            return Some(number);
        }
        loop {
            let sockets = &self.pools[pool].sockets;
            let roll = usize::from(random::message_id()) % MOST_SOCKETS;
            let number = *sockets.get(roll)?;
            let carrier = &self.carriers[number];
            if carrier.uses < MOST_USES && carrier.is_fresh(endpoint, now) {
                let takes = carrier.takes(id);
                self.pools[pool].current = takes.then_some(number);
                return takes.then_some(number);
            }
            self.retire(number);
        }
    }

    /// Any socket that takes the question, also for the rest of the batch: no other could be opened.
    fn any(&mut self, pool: usize, endpoint: &Endpoint, id: u16, now: Instant) -> Option<usize> {
        let takes = |number: &usize| {
            let carrier = &self.carriers[*number];
            carrier.takes(id) && carrier.is_fresh(endpoint, now)
        };
        let number = self.pools[pool].sockets.iter().copied().find(takes);
        self.pools[pool].current = number;
        number
    }

    fn open(
        &mut self,
        pool: usize,
        endpoint: &Arc<Endpoint>,
        now: Instant,
        watch: impl FnOnce(&UdpSocket, usize) -> io::Result<()>,
    ) -> Result<usize, Fault> {
        let socket = connected(endpoint)?;
        let entry = self.carriers.vacant_entry();
        let number = entry.key();
        watch(&socket, number).map_err(FaultKind::Open)?;
        entry.insert(Carrier::new(socket, Arc::downgrade(endpoint), now));
        let pool = &mut self.pools[pool];
        pool.sockets.push(number);
        pool.current = Some(number);
        Ok(number)
    }

    /// Sends what is queued.
    pub(super) fn flush(&mut self) {
        for pool in &mut self.pools {
            pool.current = None;
        }
        let mut unsent = std::mem::take(&mut self.unsent);
        for number in unsent.drain(..) {
            // Nobody waited any more, and the socket went with the last question.
            if self.carriers.contains(number) {
                self.send(number);
            }
        }
        self.unsent = unsent;
        self.outgoing.clear();
    }

    fn send(&mut self, number: usize) {
        let mut at = 0;
        let mut complaint = None;
        // The questions stay queued until all are dealt with, so that the socket is not closed under them.
        while let Some(batch) =
            self.carriers[number].queued.get(at..).filter(|rest| !rest.is_empty())
        {
            let batch = &batch[..batch.len().min(BATCH)];
            let datagrams = batch.iter().map(|(.., range)| &self.outgoing[range.clone()]);
            let (sent, error) = send_connected(&self.carriers[number].socket, datagrams);
            if sent > 0
                && let Some(error) = complaint.take()
            {
                // The system sends now what it would not send before: it had something to say about earlier questions.
                self.fail_carried(number, error);
            }
            let carrier = &mut self.carriers[number];
            let sent_now = &carrier.queued[at..at + sent];
            carrier.carried.extend(sent_now.iter().map(|(id, slot, _)| (*id, *slot)));
            at += sent;
            match error {
                None => {}
                // A full send buffer loses a datagram, as a full queue further on would: the deadline covers both.
                Some(error) if error.kind() == ErrorKind::WouldBlock => {
                    let (id, slot, _) = carrier.queued[at];
                    carrier.carried.push((id, slot));
                    complaint = None;
                    at += 1;
                }
                Some(error) if complaint.is_none() => complaint = Some(error),
                Some(error) => {
                    let (_, slot, _) = carrier.queued[at];
                    self.fail(slot, FaultKind::Send(error));
                    self.retire(number);
                    complaint = None;
                    at += 1;
                }
            }
        }
        let carrier = &mut self.carriers[number];
        carrier.queued.clear();
        let endpoint = &carrier.endpoint;
        let most = endpoint.upgrade().and_then(|endpoint| endpoint.max_idle);
        let pool = self.pools.iter().find(|pool| pool.endpoint.ptr_eq(endpoint));
        let kept = pool.map_or(0, |pool| pool.sockets.len());
        if carrier.uses >= MOST_USES || most.is_some_and(|most| kept > most) {
            self.retire(number);
        } else {
            self.close_if_done(number);
        }
    }

    /// Reads what has arrived at a socket. After an error event it is read to the end: an ICMP error comes out as one.
    pub(super) fn receive(&mut self, number: usize, is_error: bool, inbox: &mut Inbox) {
        while let Some(carrier) = self.carriers.get(number) {
            match inbox.receive(&carrier.socket) {
                Ok(count) => {
                    for index in 0..count {
                        self.deliver(number, inbox.datagram(index));
                    }
                    if count < Inbox::BATCH && !is_error {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.fail_carried(number, error),
            }
        }
    }

    fn deliver(&mut self, number: usize, datagram: &[u8]) {
        // With the last question before it the socket was closed.
        let Some(carrier) = self.carriers.get(number) else { return };
        let id = datagram.get(..HEADER).map(|header| u16::from_be_bytes([header[0], header[1]]));
        let found = carrier.carried.iter().find(|(carried, _)| Some(*carried) == id);
        let Some((_, slot)) = found else {
            self.count_foreign(number, 1);
            return;
        };
        let slot = &mut self.slots[*slot as usize];
        slot.arrived.push(datagram);
        if let Some(entry) = &slot.exchange {
            entry.wake();
        }
    }

    /// Counts datagrams that are no answer.
    fn count_foreign(&mut self, number: usize, count: u16) {
        let Some(carrier) = self.carriers.get_mut(number) else { return };
        carrier.foreign = carrier.foreign.saturating_add(count);
        if carrier.foreign >= MOST_FOREIGN {
            for (_, slot) in std::mem::take(&mut carrier.carried) {
                self.fail(slot, FaultKind::ManyWrongAnswers);
            }
        }
        self.retire(number);
    }

    /// All questions of a socket that were sent fail: an ICMP error does not say which one it is about, and all went to the same server.
    fn fail_carried(&mut self, number: usize, error: io::Error) {
        let carried = std::mem::take(&mut self.carriers[number].carried);
        for (_, slot) in carried {
            let error = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            };
            self.fail(slot, FaultKind::Receive(error));
        }
        self.retire(number);
    }

    fn fail(&mut self, slot: u32, kind: FaultKind) {
        let Some(entry) = &mut self.slots[slot as usize].exchange else { return };
        let carrier = self.carriers.get(entry.carrier);
        let local = carrier.and_then(|carrier| carrier.socket.local_addr().ok());
        entry.fault = Some(Fault { kind, local });
        entry.wake();
    }

    /// Gives a socket no further question, and closes it once it carries none.
    fn retire(&mut self, number: usize) {
        let carrier = &mut self.carriers[number];
        if !carrier.retired {
            carrier.retired = true;
            let pool = self.pools.iter_mut().find(|pool| pool.endpoint.ptr_eq(&carrier.endpoint));
            if let Some(pool) = pool {
                pool.sockets.retain(|one| *one != number);
                pool.current = pool.current.filter(|one| *one != number);
            }
        }
        self.close_if_done(number);
    }

    fn close_if_done(&mut self, number: usize) {
        let carrier = &self.carriers[number];
        if carrier.retired && carrier.carried.is_empty() && carrier.queued.is_empty() {
            self.carriers.remove(number);
        }
    }

    /// When somebody's time is up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Ends the exchanges whose time is up, and tells those whose patience is over. All are looked through, which happens once per such
    /// time, or per earliest one that was met: about once in as long as somebody is patient.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.next_deadline.is_none_or(|next| now < next) {
            return;
        }
        let mut next: Option<Instant> = None;
        for index in 0..self.slots.len() as u32 {
            let Some(entry) = &mut self.slots[index as usize].exchange else { continue };
            let is_over = now >= entry.times.deadline;
            if is_over && entry.fault.is_some() {
                // Who asked is gone without a word.
                self.release(index);
                continue;
            }
            if is_over {
                entry.times = Times { patience: None, deadline: now + FORGET };
            } else if entry.times.patience.is_some_and(|patience| now >= patience) {
                entry.times.patience = None;
                entry.late = true;
                entry.wake();
            }
            next = Some(next.map_or(entry.due(), |next| next.min(entry.due())));
            if is_over {
                let carrier = entry.carrier;
                self.fail(index, FaultKind::TimedOut);
                self.unload(carrier, index);
                if self.carriers.contains(carrier) {
                    self.retire(carrier);
                }
            }
        }
        self.next_deadline = next.map(|next| next.max(now + GRAIN));
    }

    /// Closes sockets that may not be used any more, forgets servers that nobody asks any more, and gives up what only a crowd needed.
    pub(super) fn sweep(&mut self, now: Instant) {
        for number in 0..self.pools.len() {
            let pool = &self.pools[number];
            let endpoint = pool.endpoint.upgrade();
            let is_over = |socket: &&usize| {
                let carrier = &self.carriers[**socket];
                endpoint.as_ref().is_none_or(|endpoint| !carrier.is_fresh(endpoint, now))
            };
            let over: Vec<usize> = pool.sockets.iter().filter(is_over).copied().collect();
            for socket in over {
                self.retire(socket);
            }
        }
        self.pools.retain(|pool| !pool.sockets.is_empty() || pool.endpoint.strong_count() > 0);
        let rest = self.free.len().saturating_sub(FEW);
        if rest > 0 && self.free.len() == self.slots.len() {
            (self.slots, self.free, self.outgoing) = Default::default();
            self.carriers.shrink_to_fit();
        } else {
            // Those that were freed last are used first.
            for index in &self.free[..rest] {
                self.slots[*index as usize].arrived = Arrived::default();
            }
        }
    }

    /// What has arrived for an exchange; `None` when it is over.
    pub(super) fn take_arrived(&mut self, ticket: Ticket) -> Option<Arrived> {
        let slot = self.slots.get_mut(ticket.slot as usize)?;
        let is_there = slot.generation == ticket.generation && slot.exchange.is_some();
        is_there.then(|| std::mem::take(&mut slot.arrived))
    }

    /// Gives the buffer back and counts what was refused.
    pub(super) fn give_back(&mut self, ticket: Ticket, mut arrived: Arrived, refused: u16) {
        arrived.clear();
        let slot = &mut self.slots[ticket.slot as usize];
        slot.arrived = arrived;
        let waits = slot.exchange.as_ref().filter(|entry| entry.fault.is_none() && refused > 0);
        if let Some(carrier) = waits.map(|entry| entry.carrier) {
            self.count_foreign(carrier, refused);
        }
    }

    /// Ends an exchange that has its answer.
    pub(super) fn end(&mut self, ticket: Ticket) {
        let slot = &self.slots[ticket.slot as usize];
        if let Some(entry) = slot.exchange.as_ref().filter(|_| slot.generation == ticket.generation)
        {
            let carrier = entry.carrier;
            self.release(ticket.slot);
            self.unload(carrier, ticket.slot);
        }
    }

    /// Ends an exchange that nobody waits for any more: its answer may still come.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        let Some(slot) = self.slots.get(ticket.slot as usize) else { return };
        if let Some(entry) = slot.exchange.as_ref().filter(|_| slot.generation == ticket.generation)
        {
            // Of one that failed the socket may be gone, and its number another's.
            if entry.fault.is_none() {
                self.retire(entry.carrier);
            }
            self.end(ticket);
        }
    }

    /// Why the exchange failed, which ends it.
    pub(super) fn fault(&mut self, ticket: Ticket) -> Option<Fault> {
        let entry = self.slots[ticket.slot as usize].exchange.as_mut()?;
        let fault = entry.fault.take()?;
        self.release(ticket.slot);
        Some(fault)
    }

    /// Keeps who is to be woken. Says, once, that the patience is over.
    pub(super) fn keep_waker(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        let Some(entry) = &mut self.slots[ticket.slot as usize].exchange else { return false };
        match &mut entry.waker {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        std::mem::take(&mut entry.late)
    }

    /// Frees a slot.
    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.exchange = None;
        slot.arrived.clear();
        self.free.push(index);
    }

    /// As if all sockets had been used then.
    #[cfg(test)]
    pub(super) fn use_at(&mut self, now: Instant) {
        self.carriers.iter_mut().for_each(|(_, carrier)| carrier.used = now);
    }

    /// How many sockets are open.
    #[cfg(test)]
    pub(super) fn sockets(&self) -> usize {
        self.carriers.len()
    }

    /// How many slots there are, and the bytes of their buffers.
    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        (self.slots.len(), self.slots.iter().map(|slot| slot.arrived.capacity()).sum())
    }

    /// How many exchanges have not ended.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a question off its socket.
    fn unload(&mut self, number: usize, slot: u32) {
        let Some(carrier) = self.carriers.get_mut(number) else { return };
        if let Some(at) = carrier.carried.iter().position(|(_, one)| *one == slot) {
            carrier.carried.swap_remove(at);
        }
        carrier.queued.retain(|(_, one, _)| *one != slot);
        self.close_if_done(number);
    }
}
