//! The whole run: each scenario, round by round, server after server.

use std::fs;
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum as _;

use crate::api::Api;
use crate::check;
use crate::churn::churn;
use crate::latency::{self, Pace};
use crate::load::{self, Load};
use crate::machine::Machine;
use crate::options::Options;
use crate::process::{self, Cpu};
use crate::question::Questions;
use crate::relist::{self, relist};
use crate::report::{Report, Turn};
use crate::scenario::Scenario;
use crate::servers::{Kind, Purpose, Running, repository};
use crate::stampede::{Stampede, stampede};
use crate::tcp;
use crate::upstream::Upstream;
use crate::workers::workers;
use crate::{Result, chart, history};

/// Load before anything counts: caches, branch predictors, Go's heap.
const WARM_UP: Duration = Duration::from_millis(500);
/// Stampedes of one turn.
const STAMPEDES: u32 = 2;

/// Runs what the options ask for and reports it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let build_first = !options.no_build && std::env::var_os("PERIPLUS_BIN").is_none();
    if build_first && !process::is_pinned() && wanted(options).contains(&Kind::Periplus) {
        build()?;
    }
    match process::on_load_cpu()? {
        Some(true) => return Ok(()),
        Some(false) => return Err("the benchmark failed".into()),
        None => {}
    }
    let servers = servers(options)?;
    let scenarios =
        if options.scenarios.is_empty() { Scenario::value_variants() } else { &options.scenarios };
    let (rounds, duration) = if options.quick {
        (1, Duration::from_secs(1))
    } else {
        (options.rounds, Duration::from_secs(options.seconds))
    };
    let mut report = Report::new(Machine::now(), rounds, duration.as_secs(), options.rate);
    println!("{}", report.preamble());
    let upstream = Upstream::start()?;
    for scenario in scenarios {
        let cluster = scenario.cluster();
        let api = Api::start(&cluster)?;
        let purpose = Purpose {
            scenario: *scenario,
            cluster: &cluster,
            api: &api,
            upstream: upstream.address,
            workers: 1,
        };
        let mut questions = scenario.questions(&cluster)?;
        for _ in 0..rounds {
            for kind in servers.iter().filter(|kind| kind.takes_part_in(*scenario)) {
                let turn = take_turn(*kind, &purpose, &mut questions, &upstream, duration, options)
                    .map_err(|error| format!("{} of {}: {error}", scenario.name(), kind.name()))?;
                report.add(*scenario, *kind, turn);
            }
        }
        println!("{}", report.table(*scenario));
    }
    save(&report, options.record)
}

/// Those asked for, or all that there are.
fn servers(options: &Options) -> Result<Vec<Kind>> {
    let (found, missing): (Vec<Kind>, Vec<Kind>) =
        wanted(options).iter().partition(|kind| kind.program().is_some());
    for kind in missing {
        if !options.servers.is_empty() {
            return Err(format!("{}: {}", kind.name(), kind.hint()).into());
        }
        println!("Without {}: {}.", kind.name(), kind.hint());
    }
    Ok(found)
}

fn wanted(options: &Options) -> &[Kind] {
    if options.servers.is_empty() { Kind::value_variants() } else { &options.servers }
}

/// Before the benchmark ties itself to one CPU.
fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--locked", "--release", "--package", "periplus"])
        .current_dir(repository())
        .env_remove("CARGO_MANIFEST_DIR")
        .status()?;
    if status.success() { Ok(()) } else { Err("periplus cannot be built".into()) }
}

fn take_turn(
    kind: Kind,
    purpose: &Purpose<'_>,
    questions: &mut Questions,
    upstream: &Upstream,
    duration: Duration,
    options: &Options,
) -> Result<Turn> {
    let (api, rate) = (purpose.api, options.rate);
    let running = kind.start(purpose)?;
    let scenario = purpose.scenario;
    let ready_memory = running.process.memory();
    let mut turn = Turn {
        ready_seconds: running.ready_after.as_secs_f64(),
        ready_cpu: running.ready_cpu.total(),
        ready_resident: ready_memory.resident,
        ready_peak: ready_memory.peak,
        ..Turn::default()
    };
    if scenario == Scenario::Stampede {
        let (cpu, result) = stampedes(&running, questions, upstream)?;
        turn.set_cpu(cpu, result.answered + result.refused);
        turn.stampede = Some(result);
    } else {
        let echo = kind == Kind::Floor;
        if !echo {
            check::answers(running.dns, questions, scenario.is_tcp())?;
        }
        let mut load = |duration| -> Result<Load> {
            if scenario.is_tcp() {
                tcp::closed_loop(running.dns, questions, duration)
            } else {
                load::closed_loop(running.dns, questions, duration, echo)
            }
        };
        load(WARM_UP)?;
        let before = running.process.cpu();
        let loaded = load(duration)?;
        turn.set_load(loaded, running.process.cpu().since(before));
        if scenario.has_latency() {
            let pace = if scenario.needs_upstream() { Pace::Yield } else { Pace::Spin };
            turn.latency = Some(latency::open_loop(running.dns, questions, rate, duration, pace)?);
        }
    }
    match scenario {
        Scenario::Relist => {
            let wanted = if options.quick { relist::QUICK } else { relist::RELISTS };
            turn.relist = Some(relist(&running, api, questions, wanted, duration)?);
        }
        Scenario::Churn => {
            turn.churn = Some(churn(&running, api, purpose.cluster, questions, rate, duration)?);
        }
        Scenario::Workers => {
            turn.workers = Some(workers(kind, &running, purpose, questions, duration)?);
        }
        _ => {}
    }
    let memory = running.process.memory();
    (turn.resident, turn.peak) = (memory.resident, memory.peak);
    Ok(turn)
}

fn stampedes(
    running: &Running,
    questions: &mut Questions,
    upstream: &Upstream,
) -> Result<(Cpu, Stampede)> {
    let before = running.process.cpu();
    let mut sum = Stampede::default();
    for _ in 0..STAMPEDES {
        let one = stampede(running.dns, questions, upstream)?;
        sum.asked += one.asked;
        sum.answered += one.answered;
        sum.refused += one.refused;
        sum.upstream += one.upstream;
        sum.seconds = sum.seconds.max(one.seconds);
    }
    Ok((running.process.cpu().since(before), sum))
}

fn save(report: &Report, record: bool) -> Result<()> {
    let folder = repository().join("bench/results");
    fs::create_dir_all(&folder)?;
    let name = report.machine.date.replace(':', "");
    let json = folder.join(format!("{name}.json"));
    fs::write(&json, serde_json::to_string_pretty(report)?)?;
    let svg = folder.join(format!("{name}.svg"));
    fs::write(&svg, chart::bars(report))?;
    println!("Written: {} and .svg", json.display());
    if record { history::record(report) } else { Ok(()) }
}
