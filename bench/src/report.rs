//! From turns to medians, spread and ratios.

mod scale;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::churn::Churn;
use crate::latency::Latency;
use crate::load::Load;
use crate::machine::Machine;
use crate::process::Cpu;
use crate::relist::Relist;
use crate::scenario::Scenario;
use crate::servers::Kind;
use crate::stampede::Stampede;
use crate::workers::Workers;

/// Everything that was measured.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) rate: u32,
    pub(crate) results: Vec<ServerResult>,
}

/// All turns of one server in one scenario.
#[derive(Serialize, Deserialize)]
pub(crate) struct ServerResult {
    pub(crate) scenario: String,
    pub(crate) server: String,
    pub(crate) turns: Vec<Turn>,
}

/// One turn of one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Right answers per second under full load.
    pub(crate) qps: f64,
    /// CPU time per answer in microseconds.
    pub(crate) user: f64,
    pub(crate) system: f64,
    pub(crate) asked: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) latency: Option<Latency>,
    pub(crate) stampede: Option<Stampede>,
    pub(crate) relist: Option<Relist>,
    pub(crate) churn: Option<Churn>,
    pub(crate) workers: Option<Workers>,
    /// From the start of the process: seconds, CPU seconds, and memory in bytes when it was ready.
    pub(crate) ready_seconds: f64,
    pub(crate) ready_cpu: f64,
    pub(crate) ready_resident: u64,
    pub(crate) ready_peak: u64,
    /// Memory in bytes at the end.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Turn {
    /// Takes what came of the full load.
    pub(crate) fn set_load(&mut self, load: Load, cpu: Cpu) {
        self.qps = load.answered as f64 / load.elapsed.as_secs_f64();
        (self.asked, self.wrong, self.lost) = (load.asked, load.wrong, load.lost);
        self.set_cpu(cpu, load.answered + load.wrong);
    }

    /// Takes CPU time spent on so many queries.
    pub(crate) fn set_cpu(&mut self, cpu: Cpu, queries: u64) {
        self.user = cpu.user * 1e6 / queries.max(1) as f64;
        self.system = cpu.system * 1e6 / queries.max(1) as f64;
    }

    fn total(&self) -> f64 {
        self.user + self.system
    }
}

impl ServerResult {
    /// The median over all turns.
    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        let sorted = self.sorted(of);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    fn sorted(&self, of: impl Fn(&Turn) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// CPU time per query in microseconds, the median.
    pub(crate) fn cpu(&self) -> f64 {
        self.median(Turn::total)
    }
}

impl Report {
    pub(crate) fn new(machine: Machine, rounds: u32, seconds: u64, rate: u32) -> Report {
        Report { machine, rounds, seconds, rate, results: Vec::new() }
    }

    /// Adds a turn.
    pub(crate) fn add(&mut self, scenario: Scenario, server: Kind, turn: Turn) {
        let (scenario, server) = (scenario.name(), server.name());
        match self.results.iter_mut().find(|one| one.scenario == scenario && one.server == server) {
            Some(result) => result.turns.push(turn),
            None => self.results.push(ServerResult { scenario, server, turns: vec![turn] }),
        }
    }

    /// The results of one scenario.
    pub(crate) fn of(&self, scenario: &str) -> impl Iterator<Item = &ServerResult> {
        self.results.iter().filter(move |result| result.scenario == scenario)
    }

    /// Names of all scenarios, in order.
    pub(crate) fn scenarios(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.results.iter().map(|result| &*result.scenario).collect();
        names.dedup();
        names
    }

    /// What the figures were measured on.
    pub(crate) fn preamble(&self) -> String {
        let Machine { date, commit, processor, cpus, kernel, load } = &self.machine;
        let pinned = if crate::process::can_pin() {
            "each server on CPU 0 (Periplus with one worker), load and upstream on CPU 1"
        } else {
            "nothing pinned: one CPU for server and load"
        };
        format!(
            "{date} UTC, commit {commit}, {cpus} x {processor}, Linux {kernel}, load average {load}\n{} rounds of {} s; {pinned}; loopback only\n",
            self.rounds, self.seconds
        )
    }

    /// One scenario as a Markdown table.
    pub(crate) fn table(&self, scenario: Scenario) -> String {
        let name = scenario.name();
        let cpu_of = |server: Kind| {
            self.of(&name).find(|one| one.server == server.name()).map(ServerResult::cpu)
        };
        let (floor, coredns) = (cpu_of(Kind::Floor), cpu_of(Kind::Coredns));
        let mut text = format!("### {name}: {}\n\n", scenario.title());
        text.push_str("| server | qps | user µs | system µs | CPU µs/query (min-max) | x floor | x CoreDNS | p50 / p99 / p99.9 µs (load late) | RSS MB | peak MB |\n");
        text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        for result in self.of(&name) {
            let spread = result.sorted(Turn::total);
            let ratio = |to: Option<f64>| {
                to.map_or_else(|| "-".to_owned(), |to| format!("{:.2}", result.cpu() / to))
            };
            let latency = |of: fn(&Latency) -> f64| {
                result.median(|turn| turn.latency.as_ref().map_or(f64::NAN, of))
            };
            let latencies = if result.turns.iter().all(|turn| turn.latency.is_some()) {
                format!(
                    "{:.0} / {:.0} / {:.0} ({:.0})",
                    latency(|l| l.p50),
                    latency(|l| l.p99),
                    latency(|l| l.p999),
                    latency(|l| l.late_p99)
                )
            } else {
                "-".to_owned()
            };
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.2} | {:.2} | {:.2} ({:.2}-{:.2}) | {} | {} | {latencies} | {:.1} | {:.1} |",
                result.server,
                result.median(|turn| turn.qps),
                result.median(|turn| turn.user),
                result.median(|turn| turn.system),
                result.cpu(),
                spread.first().copied().unwrap_or(f64::NAN),
                spread.last().copied().unwrap_or(f64::NAN),
                ratio(floor),
                ratio(coredns),
                result.median(|turn| turn.resident as f64) / 1e6,
                result.median(|turn| turn.peak as f64) / 1e6,
            );
        }
        text.push_str(&self.remarks(&name));
        if scenario.starts() {
            text.push_str(&self.starts(&name));
        }
        match scenario {
            Scenario::Stampede => text.push_str(&self.stampedes(&name)),
            Scenario::Relist => text.push_str(&self.relists(&name)),
            Scenario::Churn => text.push_str(&self.churns(&name)),
            Scenario::Workers => text.push_str(&self.workers(&name)),
            _ => {}
        }
        text
    }

    /// Wrong and lost answers, which make a figure doubtful.
    fn remarks(&self, scenario: &str) -> String {
        let mut text = String::new();
        for result in self.of(scenario) {
            let sum = |of: fn(&Turn) -> u64| result.turns.iter().map(of).sum::<u64>();
            let latency = |of: fn(&Latency) -> u64| -> u64 {
                result.turns.iter().filter_map(|turn| turn.latency.as_ref()).map(of).sum()
            };
            let (latency_wrong, latency_lost) = (latency(|l| l.wrong), latency(|l| l.lost));
            let (asked, wrong, lost) =
                (sum(|turn| turn.asked), sum(|turn| turn.wrong), sum(|turn| turn.lost));
            if wrong + lost + latency_wrong + latency_lost > 0 {
                let _ = writeln!(
                    text,
                    "\n{}: of {asked} questions {wrong} were answered wrongly and {lost} not at all; at the fixed rate {latency_wrong} wrongly and {latency_lost} not at all.",
                    result.server
                );
            }
        }
        text
    }

    fn starts(&self, scenario: &str) -> String {
        let coredns = |of: fn(&Turn) -> f64| {
            let result = self.of(scenario).find(|one| one.server == Kind::Coredns.name());
            result.map_or(f64::NAN, |one| one.median(of))
        };
        let mut text = "\n| server | ready after s | x CoreDNS | CPU until ready s | x CoreDNS | RSS when ready MB | peak when ready MB | peak / RSS |\n|---|---:|---:|---:|---:|---:|---:|---:|\n".to_owned();
        for result in self.of(scenario) {
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {:.2} |",
                result.server,
                result.median(|turn| turn.ready_seconds),
                result.median(|turn| turn.ready_seconds) / coredns(|turn| turn.ready_seconds),
                result.median(|turn| turn.ready_cpu),
                result.median(|turn| turn.ready_cpu) / coredns(|turn| turn.ready_cpu),
                result.median(|turn| turn.ready_resident as f64) / 1e6,
                result.median(|turn| turn.ready_peak as f64) / 1e6,
                result.median(|turn| turn.ready_peak as f64 / turn.ready_resident.max(1) as f64),
            );
        }
        text
    }

    fn stampedes(&self, scenario: &str) -> String {
        let mut text = "\n| server | answered | refused or failed | no answer | questions upstream | last answer after s |\n|---|---:|---:|---:|---:|---:|\n".to_owned();
        for result in self.of(scenario) {
            let sum = |of: fn(&Stampede) -> u64| {
                result.turns.iter().filter_map(|turn| turn.stampede.as_ref()).map(of).sum::<u64>()
            };
            let asked = sum(|one| one.asked).max(1) as f64;
            let share = |count: u64| 100.0 * count as f64 / asked;
            let (answered, refused) = (sum(|one| one.answered), sum(|one| one.refused));
            let _ = writeln!(
                text,
                "| {} | {:.1} % | {:.1} % | {:.1} % | {} of {asked} | {:.2} |",
                result.server,
                share(answered),
                share(refused),
                100.0 - share(answered) - share(refused),
                sum(|one| one.upstream),
                result.median(|turn| turn.stampede.as_ref().map_or(f64::NAN, |one| one.seconds)),
            );
        }
        text
    }
}
