//! Two workers against one: what a second CPU is worth.
//!
//! A machine with two CPUs has none left for the load, so that queries per second say nothing. What does not depend on how the load and the
//! server share the CPUs is the CPU time per query: if that stays the same, two workers answer twice as much as one as
//! soon as each has a CPU of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::load;
use crate::question::Questions;
use crate::servers::{Kind, Purpose, Running};

/// Sockets of the load for each worker: the kernel divides questions by their source port.
const LANES: usize = 8;
/// Questions under way on each.
const WINDOW: usize = 12;
const WARM_UP: Duration = Duration::from_millis(500);
/// The two take turns, so that both meet the same moods of the machine.
const TURNS: u32 = 3;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Workers {
    /// CPU time per query in microseconds.
    pub(crate) one: f64,
    pub(crate) two: f64,
    /// Right answers per second, with the load on the second worker's CPU.
    pub(crate) one_qps: f64,
    pub(crate) two_qps: f64,
    /// Wrong answers, and questions without an answer.
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Workers {
    /// How many times as much two workers answer, with a CPU for each.
    pub(crate) fn gain(&self) -> f64 {
        2.0 * self.one / self.two
    }
}

/// Starts a second server with two workers beside the one that runs, and loads them in turn.
pub(crate) fn workers(
    kind: Kind,
    one: &Running,
    purpose: &Purpose<'_>,
    questions: &mut Questions,
    duration: Duration,
) -> Result<Workers> {
    let two = kind.start(&Purpose { workers: 2, ..*purpose })?;
    let mut result = Workers::default();
    let mut measure = |running: &Running, count: usize| -> Result<(f64, f64)> {
        load::closed_loop_of(count * LANES, WINDOW, running.dns, questions, WARM_UP)?;
        let before = running.process.exact_cpu();
        let load =
            load::closed_loop_of(count * LANES, WINDOW, running.dns, questions, duration / TURNS)?;
        let cpu = running.process.exact_cpu() - before;
        result.wrong += load.wrong;
        result.lost += load.lost;
        let queries = (load.answered + load.wrong).max(1);
        Ok((cpu * 1e6 / queries as f64, load.answered as f64 / load.elapsed.as_secs_f64()))
    };
    let mut sums = [(0.0, 0.0); 2];
    for _ in 0..TURNS {
        for (sum, (running, count)) in sums.iter_mut().zip([(one, 1), (&two, 2)]) {
            let (cpu, qps) = measure(running, count)?;
            sum.0 += cpu / f64::from(TURNS);
            sum.1 += qps / f64::from(TURNS);
        }
    }
    ((result.one, result.one_qps), (result.two, result.two_qps)) = (sums[0], sums[1]);
    Ok(result)
}
