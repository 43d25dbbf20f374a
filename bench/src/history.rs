//! The history of runs: one line each, in a file that is committed.
//!
//! Machines differ and so do their absolute figures; the ratio to the floor of the same run is what can be compared.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::servers::{Kind, repository};
use crate::{Result, chart};

/// What is kept of a run.
#[derive(Serialize, Deserialize)]
struct Entry {
    machine: Machine,
    rounds: u32,
    seconds: u64,
    /// Scenario, server, CPU time per query in microseconds.
    cpu: Vec<(String, String, f64)>,
}

fn file() -> PathBuf {
    repository().join("bench/history.jsonl")
}

/// Makes a run part of the history, and its chart the one that is shown.
pub(crate) fn record(report: &Report) -> Result<()> {
    fs::write(repository().join("bench/chart.svg"), chart::bars(report))?;
    add(report)?;
    draw()
}

/// The same for a run whose result was kept as JSON.
pub(crate) fn record_file(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    record(&serde_json::from_str(&text)?)
}

/// Appends a run.
fn add(report: &Report) -> Result<()> {
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    let entry = Entry {
        machine: report.machine.clone(),
        rounds: report.rounds,
        seconds: report.seconds,
        cpu: report
            .results
            .iter()
            .map(|result| (result.scenario.clone(), result.server.clone(), rounded(result.cpu())))
            .collect(),
    };
    let mut file = fs::File::options().create(true).append(true).open(file())?;
    writeln!(file, "{}", serde_json::to_string(&entry)?)?;
    Ok(())
}

/// Draws Periplus' ratio to the floor over all runs.
pub(crate) fn draw() -> Result<()> {
    let text =
        fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()))?;
    let entries: Vec<Entry> =
        text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let scenarios =
        <Scenario as clap::ValueEnum>::value_variants().iter().map(|scenario| scenario.name());
    let lines: Vec<(String, Vec<Option<f64>>)> = scenarios
        .map(|scenario| {
            (
                scenario.clone(),
                entries.iter().map(|entry| entry.ratio(&scenario)).collect::<Vec<_>>(),
            )
        })
        .filter(|(_, points)| points.iter().any(Option::is_some))
        .collect();
    let dates = match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => format!("{} to {}", first.machine.date, last.machine.date),
        _ => String::new(),
    };
    let note = format!("{} runs, {dates}", entries.len());
    let svg = chart::lines(
        "CPU time per query of Periplus as a multiple of the echo floor",
        &note,
        &lines,
    );
    let path = repository().join("bench/history.svg");
    fs::write(&path, svg)?;
    println!("Written: {}", path.display());
    Ok(())
}

impl Entry {
    fn cpu(&self, scenario: &str, server: Kind) -> Option<f64> {
        self.cpu
            .iter()
            .find(|(s, k, _)| s == scenario && *k == server.name())
            .map(|(_, _, cpu)| *cpu)
    }

    fn ratio(&self, scenario: &str) -> Option<f64> {
        Some(self.cpu(scenario, Kind::Periplus)? / self.cpu(scenario, Kind::Floor)?)
    }
}
