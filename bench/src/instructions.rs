//! Instructions per query, counted by valgrind: the same on a busy machine as on a quiet one, so that a check can hold them
//! to a bound.
//!
//! Each kind of question is driven twice with different counts; the difference leaves out start, snapshot and warm-up.

pub(crate) mod drive;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::Result;
use crate::options::Instructions;
use crate::servers::repository;
use drive::Path;

const FEW: u64 = 2_000;
const MANY: u64 = 12_000;
/// How far above its bound a count may be.
const TOLERANCE: f64 = 1.10;
const BOUNDS: &str = "bench/instructions.toml";

/// Counts, and compares with the bounds or writes them.
pub(crate) fn run(arguments: &Instructions) -> Result<()> {
    valgrind()?;
    let mut counts = BTreeMap::new();
    for path in Path::ALL {
        let per_query = (count(path, MANY)? - count(path, FEW)?) as f64 / (MANY - FEW) as f64;
        println!("{:14} {per_query:8.0} instructions per query", path.name());
        counts.insert(path.name().to_owned(), per_query.round() as u64);
    }
    let file = repository().join(BOUNDS);
    if arguments.update {
        fs::write(&file, format!("{HEADER}{}", toml::to_string(&counts)?))?;
        println!("Written: {BOUNDS}");
        return Ok(());
    }
    let bounds: BTreeMap<String, u64> = toml::from_str(&fs::read_to_string(&file)?)?;
    compare(&counts, &bounds)
}

const HEADER: &str = "# Instructions per query (user space, release build, x86-64), from `cargo run --release -p periplus-bench -- instructions --update`.
# A count more than 10 % above fails. Lower a bound when something got faster; raise one only with a reason in the commit.
";

fn compare(counts: &BTreeMap<String, u64>, bounds: &BTreeMap<String, u64>) -> Result<()> {
    let mut above = Vec::new();
    for (name, count) in counts {
        let Some(bound) = bounds.get(name) else {
            above.push(format!("{name}: no bound in {BOUNDS}"));
            continue;
        };
        let ratio = *count as f64 / *bound as f64;
        if ratio > TOLERANCE {
            above.push(format!(
                "{name}: {count} instructions per query, the bound is {bound} (x {ratio:.2})"
            ));
        } else if ratio < 2.0 - TOLERANCE {
            println!("{name}: {count} is well below the bound of {bound}; lower it with --update");
        }
    }
    if above.is_empty() { Ok(()) } else { Err(above.join("\n").into()) }
}

/// Instructions of a whole process that answers `queries` questions.
fn count(path: Path, queries: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["drive", path.name(), &queries.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {said}", path.name()).into());
    }
    let collected =
        said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    Ok(collected.ok_or_else(|| format!("valgrind gave no count: {said}"))?.parse()?)
}

/// Installs valgrind where it is missing and where that is allowed.
fn valgrind() -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_ok() {
        return Ok(());
    }
    println!("Installing valgrind");
    let installed = Command::new("sh")
        .args(["-c", "apt-get update -qq && apt-get install -y -qq valgrind"])
        .status()?;
    if installed.success() {
        Ok(())
    } else {
        Err("valgrind is missing and apt-get cannot install it".into())
    }
}
