//! The side-by-side load benchmark: Periplus, its peers, and the floor under all of them.
//!
//! ```text
//! options -> for each scenario, round and server, in turn:
//!              cluster -> zone files (NSD, Knot) and a fake API server (CoreDNS, Periplus)
//!              start the server on CPU 0 -> check its answers -> closed loop from CPU 1 -> open loop -> stop it
//!         -> medians and spread -> table, JSON, SVG, history
//! ```
//!
//! The measure is CPU time per query from `/proc`, which is far steadier than queries per second on any machine that does
//! something else too. See README.md for how to read the result.

mod api;
mod chart;
mod check;
mod churn;
mod cluster;
mod floor;
mod history;
mod instructions;
mod latency;
mod load;
mod machine;
mod options;
mod process;
mod question;
mod relist;
mod report;
mod run;
mod scenario;
mod servers;
mod stampede;
mod tcp;
#[cfg(test)]
mod tests;
mod upstream;
mod wait;
mod workers;
mod zone_files;

use std::process::ExitCode;

use clap::Parser as _;

use options::{Command, Options};

/// What a step of the benchmark ends with when it cannot go on.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.command {
        None => run::run(&options),
        Some(Command::Instructions(arguments)) => instructions::run(arguments),
        Some(Command::History { add: Some(file) }) => history::record_file(file),
        Some(Command::History { add: None }) => history::draw(),
        Some(Command::Floor { listen }) => floor::serve(*listen),
        Some(Command::Drive { path, count }) => instructions::drive::drive(path, *count),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
