//! One client's flood must not cost the others their answers.
//!
//! While requests come faster than they are answered, they wait in the socket's buffer, and what finds it full is lost, whoever sent it. So a
//! worker whose socket is never empty and fills up bounds what each client gets of its time: whoever has sent more than the bound in a
//! window is turned away unread, which costs a third of an answer. The bound is one for all: a quarter of what the loudest has sent, and a quarter of
//! that if the buffer goes on filling, but no less than twice what the others send. When all is calm it is doubled, in steps, until it is gone or was
//! too much.
//!
//! ```text
//! the buffer fills up -> count one window -> a bound
//! calm for 2 seconds  -> twice the bound -> ... -> no bound: nothing is counted any more
//!                                  \-> the buffer fills up again -> a quarter of it, for 4, 8 ... 64 seconds
//! ```
//!
//! Where the buffer goes on filling, what must wait for an upstream is turned away as well: it costs several times what an answer at hand does.
//!
//! Where all are as loud, or there is only one, nobody is turned away: it would help nobody.
//!
//! Clients are counted by a count-min sketch (Cormode and Muthukrishnan, 2005) of two rows: the memory is the same for any number of
//! clients, and a quiet client is taken for a loud one only if it shares both counters with such.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Batches that were full, one after another, after which the socket counts as never empty.
const PRESSURE: u32 = 8;
/// Requests after which counting begins anew ...
const WINDOW: u16 = 1024;
/// ... or the time, whichever comes first: where less comes, the bound means more than anybody needs.
const WINDOW_TIME: Duration = Duration::from_millis(100);
/// No bound is less: 320 requests a second and worker are nobody's flood.
const LEAST: u16 = 32;
/// The part of the socket's buffer that may be in use before it counts as filling up.
const MOST_FILLED: f32 = 0.03;
/// The part in use from which on the worker has no time for what must wait.
const OVERLOADED: f32 = 0.5;
/// How long it must be calm before the bound is doubled.
const HOLD: Duration = Duration::from_secs(2);
/// That time is doubled each time that it was too early, up to this.
const MOST_HOLD: Duration = Duration::from_secs(64);
/// How long it is doubled again and again once that has begun: the others should not wait long for what comes of it.
const STEP: Duration = Duration::from_millis(50);
/// Counters in each row.
const SLOTS: usize = 2048;

/// What one worker knows about who sends how much.
pub(super) struct Gate {
    state: State,
    /// Full batches, one after another.
    full: u32,
    /// Which part of the socket's buffer was in use when it was looked at last; 0 once it was emptied.
    backlog: f32,
    window: Window,
    hold: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody counts.
    Open,
    /// One window is counted.
    Counting,
    /// Whoever has sent this many in a window has to wait for the next. From `WINDOW` on it is nobody, but not yet forgotten.
    Bounded { bound: u16, rises_at: Instant, rising: bool },
}

/// The requests counted since it began.
struct Window {
    begun: Instant,
    rows: Box<[[u16; SLOTS]; 2]>,
    hasher: foldhash::fast::RandomState,
    requests: u16,
    clients: u16,
    /// The most of one client.
    loudest: u16,
    turned_away: Vec<(IpAddr, u64)>,
}

impl Gate {
    /// An open gate.
    pub(super) fn new() -> Gate {
        Gate { state: State::Open, full: 0, backlog: 0.0, window: Window::new(), hold: HOLD }
    }

    /// Tells that a batch was received, and whether it was as large as batches get. `filled` tells which part of the socket's buffer is in use,
    /// and `report` hears who was turned away.
    #[inline]
    pub(super) fn received(
        &mut self,
        full: bool,
        now: Instant,
        filled: impl FnOnce() -> f32,
        report: impl FnMut(IpAddr, u64),
    ) {
        if full {
            self.full += 1;
            if self.full.is_multiple_of(PRESSURE) {
                self.backlog = filled();
            }
        } else {
            (self.full, self.backlog) = (0, 0.0);
        }
        if self.state != State::Open || self.full >= PRESSURE {
            self.turn(now, report);
        }
    }

    /// Whether more is lost than anybody's share explains: only what can be answered at once is worth its time.
    #[inline]
    pub(super) fn is_overloaded(&self) -> bool {
        self.backlog > OVERLOADED
    }

    /// Whether nobody needs to be asked for.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Counts a request of a client, and says whether it is to be answered.
    pub(super) fn admits(&mut self, client: IpAddr) -> bool {
        let sent = self.window.count(client);
        match self.state {
            State::Bounded { bound, .. } if sent > bound => {
                self.window.turn_away(client);
                false
            }
            _ => true,
        }
    }

    fn turn(&mut self, now: Instant, mut report: impl FnMut(IpAddr, u64)) {
        if self.state != State::Open && !self.window.is_over(now) {
            return;
        }
        let pressed = self.full >= PRESSURE && self.backlog > MOST_FILLED;
        self.state = match self.state {
            State::Open if pressed => State::Counting,
            State::Open => {
                self.full = 0;
                return;
            }
            State::Counting => match self.window.bound(WINDOW).filter(|_| pressed) {
                Some(bound) => self.bounded(bound, now),
                None => {
                    self.full = 0;
                    State::Open
                }
            },
            State::Bounded { bound, rising, .. } if pressed => {
                if rising {
                    self.hold = (self.hold * 2).min(MOST_HOLD);
                }
                self.bounded(self.window.bound(bound).unwrap_or(bound), now)
            }
            State::Bounded { bound, rises_at, .. } if now >= rises_at => {
                if bound < WINDOW {
                    State::Bounded { bound: bound * 2, rises_at: now + STEP, rising: true }
                } else {
                    self.hold = HOLD;
                    State::Open
                }
            }
            bounded => bounded,
        };
        for (client, count) in self.window.turned_away.drain(..) {
            report(client, count);
        }
        self.window.begin(now);
    }

    fn bounded(&mut self, bound: u16, now: Instant) -> State {
        self.full = 0;
        State::Bounded { bound, rises_at: now + self.hold, rising: false }
    }
}

impl Window {
    fn new() -> Window {
        Window {
            begun: Instant::now(),
            rows: Box::new([[0; SLOTS]; 2]),
            hasher: foldhash::fast::RandomState::default(),
            requests: 0,
            clients: 0,
            loudest: 0,
            turned_away: Vec::new(),
        }
    }

    fn begin(&mut self, now: Instant) {
        for row in self.rows.iter_mut() {
            row.fill(0);
        }
        (self.requests, self.clients, self.loudest) = (0, 0, 0);
        self.begun = now;
    }

    fn is_over(&self, now: Instant) -> bool {
        self.requests >= WINDOW || now.saturating_duration_since(self.begun) >= WINDOW_TIME
    }

    /// Counts one request of a client; gives how many it has sent in this window, or a little more.
    fn count(&mut self, client: IpAddr) -> u16 {
        let hash = self.hasher.hash_one(client);
        let mut sent = u16::MAX;
        for (row, slot) in self.rows.iter_mut().zip([hash as usize, (hash >> 32) as usize]) {
            let counter = &mut row[slot % SLOTS];
            *counter = counter.saturating_add(1);
            sent = sent.min(*counter);
        }
        self.requests = self.requests.saturating_add(1);
        self.clients += u16::from(sent == 1);
        self.loudest = self.loudest.max(sent);
        sent
    }

    /// A bound that turns away some of what the loudest sends, and nothing of what is usual; `None` where nobody is loud.
    fn bound(&self, before: u16) -> Option<u16> {
        let others = self.clients.checked_sub(1).filter(|others| *others > 0)?;
        let usual = self.requests.saturating_sub(self.loudest) / others;
        let bound = (self.loudest.min(before) / 4).max(usual.saturating_mul(2)).max(LEAST);
        Some(bound).filter(|bound| *bound < self.loudest.min(before))
    }

    fn turn_away(&mut self, client: IpAddr) {
        match self.turned_away.iter_mut().find(|(known, _)| *known == client) {
            Some((_, count)) => *count += 1,
            // Only those above the bound come here, and no more than WINDOW / LEAST can be.
            None => self.turned_away.push((client, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that is offered requests in the given proportions, and whose buffer empties if no more than `capacity` of all are answered.
    struct Flood {
        gate: Gate,
        now: Instant,
        credit: Vec<f64>,
        turned_away: Vec<u64>,
    }

    impl Flood {
        fn new() -> Flood {
            Flood { gate: Gate::new(), now: Instant::now(), credit: vec![], turned_away: vec![] }
        }

        /// Offers `batches` of 32; gives for each client the share of its requests that was admitted.
        fn offer(&mut self, weights: &[f64], capacity: f64, batches: usize) -> Vec<f64> {
            let total: f64 = weights.iter().sum();
            self.credit.resize(weights.len(), 0.0);
            self.turned_away.resize(weights.len(), 0);
            let (mut sent, mut admitted) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
            let mut load = 1.0;
            for _ in 0..batches {
                self.now += Duration::from_millis(3);
                let turned_away = &mut self.turned_away;
                let full = load > capacity;
                let filled = || if full { 0.5 } else { 0.0 };
                self.gate.received(full, self.now, filled, |client, count| {
                    let IpAddr::V4(client) = client else { panic!("only IPv4 here") };
                    turned_away[usize::from(client.octets()[3])] += count;
                });
                let mut answered = 0;
                for _ in 0..32 {
                    for (credit, weight) in self.credit.iter_mut().zip(weights) {
                        *credit += weight / total;
                    }
                    let next = (0..weights.len())
                        .max_by(|a, b| self.credit[*a].total_cmp(&self.credit[*b]))
                        .expect("somebody sends");
                    self.credit[next] -= 1.0;
                    sent[next] += 1.0;
                    let client = IpAddr::from([10, 0, 0, next as u8]);
                    if self.gate.is_open() || self.gate.admits(client) {
                        admitted[next] += 1.0;
                        answered += 1;
                    }
                }
                load += 0.05 * (f64::from(answered) / 32.0 - load);
            }
            sent.iter().zip(admitted).map(|(sent, admitted)| admitted / sent).collect()
        }
    }

    /// One client sends `times` as much as each of 99 others.
    fn one_loud(times: f64) -> Vec<f64> {
        let mut weights = vec![1.0; 100];
        weights[0] = times;
        weights
    }

    #[test]
    fn nobody_counts_while_the_socket_gets_empty() {
        let mut flood = Flood::new();
        assert!(flood.offer(&one_loud(20.0), 1.0, 1000).iter().all(|share| *share == 1.0));
        assert!(flood.gate.is_open());
    }

    #[test]
    fn the_loud_one_is_turned_away_and_the_others_are_not() {
        for (times, capacity) in [(20.0, 0.9), (99.0, 0.6), (20.0 * 99.0, 0.1)] {
            let mut flood = Flood::new();
            flood.offer(&one_loud(times), capacity, 500);
            let shares = flood.offer(&one_loud(times), capacity, 2000);
            assert!(shares[0] < 0.95, "{times}: the loud one: {}", shares[0]);
            assert!(shares[1..].iter().all(|share| *share == 1.0), "{times}: {shares:?}");
            assert!(flood.turned_away[0] > 0 && flood.turned_away[1..].iter().all(|n| *n == 0));
        }
    }

    #[test]
    fn what_must_wait_is_put_off_only_while_the_buffer_is_half_full() {
        let (mut gate, now) = (Gate::new(), Instant::now());
        for (filled, overloaded) in [(0.4, false), (0.6, true), (0.1, false), (1.0, true)] {
            for _ in 0..PRESSURE {
                gate.received(true, now, || filled, |_, _| {});
            }
            assert_eq!(gate.is_overloaded(), overloaded, "{filled}");
        }
        gate.received(false, now, || 1.0, |_, _| {});
        assert!(!gate.is_overloaded(), "the buffer was emptied");
    }

    #[test]
    fn where_all_are_as_loud_nobody_is_turned_away() {
        for clients in [1, 2, 4, 100] {
            let shares = Flood::new().offer(&vec![1.0; clients], 0.5, 2000);
            assert!(shares.iter().all(|share| *share == 1.0), "{clients} clients: {shares:?}");
        }
    }

    #[test]
    fn several_loud_ones_are_bounded_alike() {
        let mut weights = vec![1.0; 100];
        weights[..3].fill(300.0);
        let mut flood = Flood::new();
        flood.offer(&weights, 0.5, 500);
        let shares = flood.offer(&weights, 0.5, 2000);
        assert!(shares[3..].iter().all(|share| *share == 1.0), "{shares:?}");
        assert!(shares[..3].iter().all(|share| (share - shares[0]).abs() < 0.05), "{shares:?}");
    }

    #[test]
    fn a_flood_that_goes_on_is_tried_less_and_less_often() {
        let mut flood = Flood::new();
        flood.offer(&one_loud(2000.0), 0.6, 1000);
        let first = flood.gate.hold;
        flood.offer(&one_loud(2000.0), 0.6, 10_000);
        assert!(flood.gate.hold > first && flood.gate.hold > HOLD * 4, "{:?}", flood.gate.hold);
    }

    #[test]
    fn the_bound_goes_when_the_flood_is_over() {
        let mut flood = Flood::new();
        flood.offer(&one_loud(2000.0), 0.1, 1000);
        assert!(!flood.gate.is_open());
        flood.offer(&one_loud(20.0), 1.0, 100);
        assert!(!flood.gate.is_open(), "not at once");
        for _ in 0..1200 {
            flood.now += WINDOW_TIME;
            flood.offer(&one_loud(20.0), 1.0, 1);
        }
        assert!(flood.gate.is_open());
    }
}
