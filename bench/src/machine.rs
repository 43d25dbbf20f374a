//! What the figures were measured on, and when.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::servers::repository;

/// The machine and the moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `2025-01-31T23:59`, UTC.
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    /// Load average over one minute when the run began: what else the machine was doing.
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn now() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let models: Vec<&str> = cpuinfo
            .lines()
            .filter_map(|line| {
                line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim())
            })
            .collect();
        Machine {
            date: date(),
            commit: commit(),
            processor: models.first().copied().unwrap_or("unknown").to_owned(),
            cpus: models.len(),
            kernel: read("/proc/sys/kernel/osrelease")
                .splitn(3, '.')
                .take(2)
                .collect::<Vec<_>>()
                .join("."),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn commit() -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(repository())
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60)
}

/// Year, month and day of a number of days after 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (
        year_of_era + era * 400 + u64::from(month <= 2),
        month,
        of_year - (153 * shifted_month + 2) / 5 + 1,
    )
}
