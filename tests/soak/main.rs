//! What a server must stand for minutes: floods, small limits, restarts. One scenario after the other, each in a process of its own.
//!
//! ```sh
//! cargo test --test soak                                   # short forms: what CI runs
//! cargo test --release --test soak -- --long [SCENARIO]    # minutes each; the table in README.md
//! ```

#![expect(unreachable_pub, reason = "a test binary has nobody outside to reach for its items")]

mod configmap;
mod cpu_limit;
mod cpus;
mod fairness;
mod forwards_to_itself;
mod group;
mod half_open;
mod load;
mod overload;
mod overload_full;
mod ramp;
mod reload;
mod rollout;
mod server;
mod support;
mod trouble;
mod upstream;
mod wire;

use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// How long a scenario may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// Seconds, and debug builds.
    Short,
    /// Minutes, and all that is measured must reach its target.
    Long,
}

/// What a scenario found: some words for the table.
type Scenario = fn(Length) -> String;

/// What a scenario makes that only root may make.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    ControlGroup,
    NetworkNamespace,
}

const SCENARIOS: &[(&str, Needs, Scenario)] = &[
    ("overload-64", Needs::ControlGroup, |length| overload::run(length, 64)),
    ("overload-170", Needs::ControlGroup, |length| overload::run(length, 170)),
    ("overload-waiting", Needs::ControlGroup, |length| overload::alive(length, 64)),
    ("overload-full", Needs::ControlGroup, overload_full::run),
    ("fairness", Needs::Nothing, fairness::run),
    ("fairness-waiting", Needs::ControlGroup, fairness::waiting),
    ("rollout-sigterm", Needs::Nothing, rollout::sigterm),
    ("rollout-takeover", Needs::Nothing, rollout::takeover),
    ("rollout-kill", Needs::Nothing, rollout::kill),
    ("reload", Needs::Nothing, reload::run),
    ("configmap", Needs::Nothing, configmap::run),
    ("loop", Needs::Nothing, forwards_to_itself::run),
    ("upstream-dead", Needs::Nothing, trouble::dead),
    ("upstream-outage", Needs::Nothing, trouble::outage),
    ("upstream-scale", Needs::Nothing, trouble::scale),
    ("upstream-scale-virtual", Needs::Nothing, trouble::scale_virtual),
    ("cpu-limit", Needs::ControlGroup, cpu_limit::run),
    ("cpu-resize", Needs::ControlGroup, cpu_limit::resize),
    ("half-open", Needs::NetworkNamespace, half_open::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let length = match arguments.iter().any(|argument| argument == "--long") {
        true => Length::Long,
        false => Length::Short,
    };
    // Flags of the usual test harness mean nothing here.
    let wanted: Vec<&String> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let mut failed = false;
    for (name, needs, scenario) in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let what = match needs {
            Needs::ControlGroup if !is_root => "control group",
            Needs::NetworkNamespace if !is_root => "network namespace",
            _ => "",
        };
        if !what.is_empty() {
            println!("| {name} | NOT RUN: only root may make a {what} | 0 s |");
            continue;
        }
        let begun = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| scenario(length)));
        let seconds = begun.elapsed().as_secs();
        match found {
            Ok(found) => println!("| {name} | {found} | {seconds} s |"),
            Err(_) => {
                println!("| {name} | FAILED | {seconds} s |");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
