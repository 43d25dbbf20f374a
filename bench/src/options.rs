//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::scenario::Scenario;
use crate::servers::Kind;

/// Measures Periplus, its peers and the floor side by side, on this machine, over loopback only.
#[derive(Parser)]
#[command(name = "periplus-bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Scenarios to run, comma-separated (default: all)
    #[arg(long = "scenario", value_name = "NAME", value_enum, value_delimiter = ',')]
    pub(crate) scenarios: Vec<Scenario>,
    /// Servers to run, comma-separated (default: all that are installed; CoreDNS is found by COREDNS_BIN)
    #[arg(long = "server", value_name = "NAME", value_enum, value_delimiter = ',')]
    pub(crate) servers: Vec<Kind>,
    /// How often each server's turn comes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Seconds of full load in each turn; the run at a fixed rate takes as long
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) seconds: u64,
    /// One round of one second: shows that everything works, not how fast it is
    #[arg(long)]
    pub(crate) quick: bool,
    /// Queries per second of the run that measures latency
    #[arg(long, value_name = "QPS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Add the result to the committed history (bench/history.jsonl) and redraw bench/chart.svg
    #[arg(long)]
    pub(crate) record: bool,
    /// Use the release binary that is there instead of building it
    #[arg(long)]
    pub(crate) no_build: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Count instructions per query and compare them with bench/instructions.toml
    Instructions(Instructions),
    /// Draw bench/history.svg from bench/history.jsonl
    History {
        /// First add this result of an earlier run (a file of bench/results)
        #[arg(long, value_name = "FILE")]
        add: Option<PathBuf>,
    },
    /// Echo datagrams: what receiving and sending alone cost
    #[command(hide = true)]
    Floor { listen: SocketAddr },
    /// Answer questions of one kind in this process, for the instruction count
    #[command(hide = true)]
    Drive { path: String, count: u64 },
}

#[derive(Args)]
pub(crate) struct Instructions {
    /// Write the counts as the new bounds instead of comparing
    #[arg(long)]
    pub(crate) update: bool,
}
