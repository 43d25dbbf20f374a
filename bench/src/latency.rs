//! Latency over UDP: an open loop at a fixed rate.
//!
//! Each question has a time at which it is due, and its latency counts from then, whether or not it could be sent in time: a server
//! that stalls is charged for all questions that came due meanwhile (no coordinated omission).

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use periplus::sys::Batch;
use serde::{Deserialize, Serialize};

use crate::question::Questions;
use crate::{Result, wait};

/// How long to wait for the last answers; who has not answered by then counts with this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What came of a run at a fixed rate.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Questions asked, those answered wrongly, and those never answered.
    pub(crate) asked: u64,
    #[serde(default)]
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    /// How late the load itself was in 99 of 100 cases: what of the figures above may be its own.
    pub(crate) late_p99: f64,
}

/// What the load does between two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Looks for answers all the time.
    Spin,
    /// Lets others have the CPU if they want it.
    Yield,
    /// Sleeps until the next question is due or an answer comes.
    Sleep,
}

/// When to ask.
pub(crate) struct Schedule {
    /// Questions per second.
    pub(crate) rate: u32,
    /// For how long at most.
    pub(crate) most: Duration,
    pub(crate) pace: Pace,
}

/// What became of each question.
pub(crate) struct Samples {
    begun: Instant,
    all: Vec<Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    due: Duration,
    late: Duration,
    /// `None`: never answered.
    latency: Option<Duration>,
    wrong: bool,
}

/// Asks at `rate` per second for `duration`.
pub(crate) fn open_loop(
    server: SocketAddr,
    questions: &mut Questions,
    rate: u32,
    duration: Duration,
    pace: Pace,
) -> Result<Latency> {
    let schedule = Schedule { rate, most: duration, pace };
    Ok(ask(server, questions, &schedule, |_| true)?.latency())
}

/// Asks as scheduled, as long as `go_on` says so, which is called between questions with the time since the beginning.
pub(crate) fn ask(
    server: SocketAddr,
    questions: &mut Questions,
    schedule: &Schedule,
    mut go_on: impl FnMut(Duration) -> bool,
) -> Result<Samples> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let total = (f64::from(schedule.rate) * schedule.most.as_secs_f64()) as usize;
    let interval = Duration::from_secs(1) / schedule.rate;
    let due = |at: usize| interval * u32::try_from(at).unwrap_or(u32::MAX);
    let begun = Instant::now();
    let mut samples = Samples { begun, all: Vec::with_capacity(total) };
    let mut answered = 0;
    let mut out = Vec::with_capacity(512);
    let mut batch = Batch::new();
    let (mut asking, mut end) = (true, schedule.most + PATIENCE);
    while (asking || answered < samples.all.len()) && begun.elapsed() < end {
        if asking && (samples.all.len() == total || !go_on(begun.elapsed())) {
            (asking, end) = (false, begun.elapsed() + PATIENCE);
        }
        while asking && samples.all.len() < total && due(samples.all.len()) <= begun.elapsed() {
            let at = samples.all.len();
            out.clear();
            questions.write(at as u64, at as u16, &mut out);
            // A full buffer is a lost question.
            let _ = socket.send_to(&out, server);
            let late = begun.elapsed() - due(at);
            samples.all.push(Sample { due: due(at), late, latency: None, wrong: false });
        }
        let received = batch.receive(&socket).unwrap_or(0);
        let now = begun.elapsed();
        for index in 0..received {
            let response = batch.request(index).0;
            let Some(&[high, low]) = response.first_chunk() else { continue };
            // The newest question with this id.
            let asked = samples.all.len();
            let back = (asked as u16).wrapping_sub(1).wrapping_sub(u16::from_be_bytes([high, low]));
            let Some(at) = asked.checked_sub(1 + usize::from(back)) else { continue };
            let sample = &mut samples.all[at];
            if sample.latency.is_none() {
                sample.latency = Some(now.saturating_sub(sample.due));
                sample.wrong = !questions.expected(at as u64).fits(response);
                answered += 1;
            }
        }
        match schedule.pace {
            Pace::Yield if received == 0 => std::thread::yield_now(),
            Pace::Sleep if received == 0 => {
                let next = due(samples.all.len()).saturating_sub(begun.elapsed());
                wait::readable(std::iter::once(&socket), next.min(PATIENCE / 100));
            }
            _ => {}
        }
    }
    questions.advance(samples.all.len() as u64);
    Ok(samples)
}

impl Samples {
    /// Over all questions.
    pub(crate) fn latency(&self) -> Latency {
        Latency::of(&self.all)
    }

    /// Over those that were due in one of these times.
    pub(crate) fn within(&self, times: &[(Instant, Instant)]) -> Latency {
        let is_within = |sample: &&Sample| {
            let at = self.begun + sample.due;
            times.iter().any(|(from, to)| (*from..*to).contains(&at))
        };
        let chosen: Vec<Sample> = self.all.iter().filter(is_within).copied().collect();
        Latency::of(&chosen)
    }
}

impl Latency {
    fn of(samples: &[Sample]) -> Latency {
        let mut latencies: Vec<Duration> =
            samples.iter().map(|sample| sample.latency.unwrap_or(PATIENCE)).collect();
        let mut late: Vec<Duration> = samples.iter().map(|sample| sample.late).collect();
        let count =
            |which: fn(&Sample) -> bool| samples.iter().filter(|one| which(one)).count() as u64;
        latencies.sort_unstable();
        late.sort_unstable();
        Latency {
            p50: microseconds(&latencies, 0.5),
            p99: microseconds(&latencies, 0.99),
            p999: microseconds(&latencies, 0.999),
            asked: samples.len() as u64,
            wrong: count(|sample| sample.wrong),
            lost: count(|sample| sample.latency.is_none()),
            late_p99: microseconds(&late, 0.99),
        }
    }
}

/// The value that a share of all does not exceed, in microseconds; 0 where there is none.
pub(crate) fn microseconds(sorted: &[Duration], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}
