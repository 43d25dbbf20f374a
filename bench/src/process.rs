//! Server processes: started on a CPU of their own, and what `/proc` says of them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Result;

/// The CPU that servers run on; the load runs on the next one.
const SERVER_CPU: &str = "0";
const LOAD_CPU: &str = "1";
/// For a server with two workers: one of them shares its CPU with the load.
const BOTH_CPUS: &str = "0,1";
/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    /// What was used since an earlier reading.
    pub(crate) fn since(self, before: Cpu) -> Cpu {
        Cpu { user: self.user - before.user, system: self.system - before.system }
    }

    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

/// How to start a process.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [String],
    pub(crate) environment: &'a [(&'static str, String)],
    /// How many CPUs it gets, where there are several: 1 or 2.
    pub(crate) cpus: u16,
    /// Where to write what it says.
    pub(crate) said: &'a Path,
    /// Whether its standard output is a pipe to a thread that throws it away, as a container runtime would read it.
    pub(crate) drained: bool,
}

/// A running process with all its children; dropping it kills it.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command on the servers' CPU.
    pub(crate) fn start(launch: &Launch<'_>) -> Result<Process> {
        let Launch { program, arguments, environment, cpus, said, drained } = *launch;
        let mut command = if can_pin() {
            let mut command = Command::new("taskset");
            command.args(["-c", if cpus > 1 { BOTH_CPUS } else { SERVER_CPU }]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(fs::File::create(said)?);
        if drained {
            let (mut reader, writer) = std::io::pipe()?;
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
            command.stdout(writer);
        } else {
            command.stdout(fs::File::options().append(true).open(said)?);
        }
        Ok(Process { child: command.spawn()? })
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU time used so far, children that still run included.
    pub(crate) fn cpu(&self) -> Cpu {
        self.family().iter().filter_map(|pid| cpu_of(*pid)).fold(Cpu::default(), |sum, cpu| Cpu {
            user: sum.user + cpu.user,
            system: sum.system + cpu.system,
        })
    }

    /// Seconds of CPU time of its threads that still run, without children, to the nanosecond: for what takes less than a few ticks.
    pub(crate) fn exact_cpu(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let files = threads.into_iter().flatten().flatten();
        let texts =
            files.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        texts.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e9
    }

    /// Memory in use, children included; pages they share count once for each.
    pub(crate) fn memory(&self) -> Memory {
        self.family().iter().fold(Memory::default(), |sum, pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let kilobytes = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            Memory {
                resident: sum.resident + 1024 * kilobytes("VmRSS:"),
                peak: sum.peak + 1024 * kilobytes("VmHWM:"),
            }
        })
    }

    /// Its pid and those of all its descendants.
    fn family(&self) -> HashSet<u32> {
        let mut family = HashSet::from([self.child.id()]);
        let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat_field(pid, 1)? as u32)))
            .collect();
        loop {
            let more: Vec<u32> = parents
                .iter()
                .filter(|(pid, parent)| family.contains(parent) && !family.contains(pid))
                .map(|(pid, _)| *pid)
                .collect();
            if more.is_empty() {
                return family;
            }
            family.extend(more);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // NSD's and Knot's children end with their parent.
        let family = self.family();
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let patience = if family.len() > 1 { 50 } else { 0 };
        for _ in 0..patience {
            if !self.is_running() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu_of(pid: u32) -> Option<Cpu> {
    Some(Cpu {
        user: stat_field(pid, 11)? / TICKS_PER_SECOND,
        system: stat_field(pid, 12)? / TICKS_PER_SECOND,
    })
}

/// A number of `/proc/PID/stat`, counted from the one behind the command's name.
fn stat_field(pid: u32, index: usize) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(index)?.parse().ok()
}

/// Whether servers and load can have a CPU each.
pub(crate) fn can_pin() -> bool {
    std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) || is_pinned()
}

/// Whether this process is the one on the load's CPU.
pub(crate) fn is_pinned() -> bool {
    std::env::var_os(PINNED).is_some()
}

/// Set in the environment of a process that has been put on the load's CPU.
const PINNED: &str = "PERIPLUS_BENCH_PINNED";

/// Runs this program again on the load's CPU; gives its success, or nothing when this process is the one to go on.
pub(crate) fn on_load_cpu() -> Result<Option<bool>> {
    if is_pinned() || !can_pin() || !Path::new("/usr/bin/taskset").exists() {
        return Ok(None);
    }
    let own = std::env::current_exe()?;
    let status = Command::new("taskset")
        .args(["-c", LOAD_CPU])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(PINNED, "1")
        .status()?;
    Ok(Some(status.success()))
}
