//! What the kernel knows about the process, read from `/proc` at each scrape.

use std::fs;

use periplus_core::metrics::Registry;

/// Clock ticks per second in `/proc/PID/stat`: USER_HZ, which is 100 in the interface of every architecture Rust runs on.
const TICKS: f64 = 100.0;

/// Registers the `process_*` metrics, where there is a `/proc`.
pub(super) fn register(registry: &Registry) {
    if Stat::read().is_none() {
        return;
    }
    registry.computed(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        "counter",
        &[],
        || Stat::read().map_or(0.0, |stat| stat.cpu_seconds),
    );
    registry.computed(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        "gauge",
        &[],
        || Stat::read().map_or(0.0, |stat| stat.virtual_bytes),
    );
    registry.computed(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        "gauge",
        &[],
        || resident_bytes().unwrap_or(0.0),
    );
    registry.computed(
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        "gauge",
        &[],
        || limit("Max address space").unwrap_or(0.0),
    );
    registry.computed("process_open_fds", "Number of open file descriptors.", "gauge", &[], || {
        open_descriptors().unwrap_or(0.0)
    });
    registry.computed(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        "gauge",
        &[],
        || limit("Max open files").unwrap_or(0.0),
    );
    let started = Stat::read().zip(boot_time()).map_or(0.0, |(stat, boot)| boot + stat.started);
    registry
        .gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            &[],
        )
        .set(started);
}

/// Fields of `/proc/self/stat` (proc_pid_stat(5)).
struct Stat {
    /// User and system time.
    cpu_seconds: f64,
    /// Seconds from the system's start to the process's.
    started: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn read() -> Option<Stat> {
        Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Stat> {
        // The second field is the command in parentheses and may itself hold spaces and parentheses.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<f64> =
            rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
        // `rest` begins with field 3.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Stat {
            cpu_seconds: (field(14)? + field(15)?) / TICKS,
            started: field(22)? / TICKS,
            virtual_bytes: field(23)?,
        })
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes: f64 = number_after(&status, "VmRSS:")?;
    Some(kilobytes * 1024.0)
}

fn boot_time() -> Option<f64> {
    number_after(&fs::read_to_string("/proc/stat").ok()?, "btime ")
}

/// A soft limit (`proc_pid_limits(5)`).
fn limit(name: &str) -> Option<f64> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?, name)
}

/// Where there is none, the largest number that limits have, as Go's library says.
fn soft_limit(text: &str, name: &str) -> Option<f64> {
    number_after(text, name).or_else(|| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start().starts_with("unlimited").then_some(u64::MAX as f64)
    })
}

fn open_descriptors() -> Option<f64> {
    // One of them is the folder that is being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// The first word of the line that begins with `key`, as a number.
fn number_after(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_a_process_may_hold_parentheses_and_spaces() {
        let text = "42 (a) b (c)) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 1000 4096 7";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_seconds, stat.started, stat.virtual_bytes), (3.0, 10.0, 4096.0));
    }

    #[test]
    fn a_number_is_read_from_its_line() {
        let cases = [
            ("VmPeak:\t 10 kB\nVmRSS:\t     512 kB\n", "VmRSS:", Some(512.0)),
            (
                "Max open files            1024                 4096                 files\n",
                "Max open files",
                Some(1024.0),
            ),
            ("cpu 1 2\nbtime 1700000000\n", "btime ", Some(1_700_000_000.0)),
            ("", "btime ", None),
        ];
        for (text, key, expected) in cases {
            assert_eq!(number_after(text, key), expected, "{key}");
        }
        let limits = "Max address space         unlimited            unlimited            bytes\nMax open files  7  9  files\n";
        let limits = ["Max address space", "Max open files", "Max nothing"]
            .map(|name| soft_limit(limits, name));
        assert_eq!(limits, [Some(18_446_744_073_709_551_615.0), Some(7.0), None]);
    }
}
