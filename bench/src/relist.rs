//! Everything is listed again, time after time: memory, and what queries notice of it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::api::Api;
use crate::latency::{self, Latency, Pace, Schedule};
use crate::process::Memory;
use crate::question::Questions;
use crate::servers::Running;

/// How many relists, as far as [`PATIENCE`] allows.
pub(crate) const RELISTS: u32 = 8;
/// The same with `--quick`.
pub(crate) const QUICK: u32 = 2;
/// For all relists of a turn together. client-go waits up to half a minute between two.
const PATIENCE: Duration = Duration::from_secs(60);
/// From the first list, or a relist, to the next relist: memory that is given back with a delay is given back by then.
const REST: Duration = Duration::from_millis(700);
const LOOK: Duration = Duration::from_millis(2);
/// Questions per second meanwhile. The load sleeps between them, as it shares its CPU with the API server.
const RATE: u32 = 2000;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Relist {
    /// Relists that came to their end.
    pub(crate) relists: u32,
    /// The longest time from the first request of a relist to the next watch, in seconds.
    pub(crate) seconds: f64,
    /// CPU seconds of the server for one relist, the questions' share taken off.
    pub(crate) cpu: f64,
    /// Resident bytes before the first relist and after the last, and the peak since the server's start.
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) peak: u64,
    /// Latency before the first relist, and of the questions that were due during one.
    pub(crate) quiet: Latency,
    pub(crate) during: Latency,
    /// All questions asked from the first relist to the last, those answered wrongly, and those not answered.
    pub(crate) asked: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

/// Makes a server that runs list everything again and again.
pub(crate) fn relist(
    running: &Running,
    api: &Api,
    questions: &mut Questions,
    wanted: u32,
    quiet: Duration,
) -> Result<Relist> {
    thread::sleep(REST);
    let before = running.process.memory();
    let cpu = running.process.exact_cpu();
    let quiet = latency::open_loop(running.dns, questions, RATE, quiet, Pace::Sleep)?;
    let one_question = (running.process.exact_cpu() - cpu) / quiet.asked.max(1) as f64;
    let cpu = running.process.exact_cpu();
    let ended = AtomicBool::new(false);
    let schedule = Schedule { rate: RATE, most: 2 * PATIENCE, pace: Pace::Sleep };
    let (times, samples) = thread::scope(|scope| {
        let times = scope.spawn(|| {
            let times = force(api, wanted);
            ended.store(true, Relaxed);
            times
        });
        let samples = latency::ask(running.dns, questions, &schedule, |_| !ended.load(Relaxed));
        (times.join(), samples)
    });
    let (times, all) = (times.map_err(|_| "the thread that forces relists has failed")?, samples?);
    let asking = all.latency();
    let cpu = running.process.exact_cpu() - cpu - one_question * asking.asked as f64;
    let Memory { resident, peak } = running.process.memory();
    Ok(Relist {
        relists: times.len() as u32,
        seconds: times.iter().map(|(from, to)| (*to - *from).as_secs_f64()).fold(0.0, f64::max),
        cpu: cpu / times.len().max(1) as f64,
        before: before.resident,
        after: resident,
        peak,
        quiet,
        during: all.within(&times),
        asked: asking.asked,
        wrong: asking.wrong,
        lost: asking.lost,
    })
}

/// Ends all watches so many times; gives when each relist began and ended.
fn force(api: &Api, wanted: u32) -> Vec<(Instant, Instant)> {
    let begun = Instant::now();
    let in_time = || begun.elapsed() < PATIENCE;
    let mut times = Vec::new();
    for _ in 0..wanted {
        let lists = api.lists();
        api.expire();
        while api.lists() == lists && in_time() {
            thread::sleep(LOOK);
        }
        let from = Instant::now();
        while api.watches() == 0 && in_time() {
            thread::sleep(LOOK);
        }
        if !in_time() {
            break;
        }
        times.push((from, Instant::now()));
        thread::sleep(REST);
    }
    times
}
