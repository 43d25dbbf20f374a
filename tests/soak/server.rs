//! Periplus as a process of its own, with a cluster of a hundred Services.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::cpus::Apart;
use crate::group::{Group, Limits};
use crate::support::client::wait_for_page;
use crate::support::cluster;
use crate::support::ports::free_port;
use crate::support::process::{Process, threads};

/// Services of the cluster.
const SERVICES: usize = 100;
/// How long a page may take: what manifests have as `timeoutSeconds` of a probe.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at `/health`.
const LOOK: Duration = Duration::from_secs(1);

/// How to start one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Launch<'a> {
    pub(crate) limits: Limits,
    pub(crate) workers: Option<u16>,
    /// On one CPU, and this thread on the others.
    pub(crate) pinned: bool,
    /// Seconds that SIGTERM waits for traffic to end.
    pub(crate) grace: Option<u64>,
    /// The port; a free one if none is named.
    pub(crate) port: Option<u16>,
    /// Lines of the server block beside `kubernetes`, `health`, `ready` and `prometheus`.
    pub(crate) block: &'a str,
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
    mount: Mount,
    /// The server block up to where it may be another one.
    head: String,
    health: u16,
    metrics: u16,
    /// Removed after the process has ended.
    group: Option<Group>,
    _apart: Option<Apart>,
}

/// The names of the cluster's Services.
pub(crate) fn names() -> Vec<String> {
    (0..SERVICES).map(|index| format!("svc-{index}.shop.svc.cluster.local.")).collect()
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(launch: Launch<'_>) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = |name: &str| directory.path().join(name);
        let services: String = (0..SERVICES)
            .map(|index| format!("service shop/svc-{index} 10.96.1.{} http:80/TCP\n", index + 1))
            .collect();
        let objects = cluster::parse(&format!("namespace shop\n{services}"));
        fs::write(path("cluster.json"), cluster::manifest(&objects))
            .expect("a file can be written");
        let port = launch.port.unwrap_or_else(free_port);
        let [health, ready, metrics] = [free_port(), free_port(), free_port()];
        let head = format!(
            ".:{port} {{
    health 127.0.0.1:{health}
    ready 127.0.0.1:{ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        snapshot {}
    }}
    prometheus 127.0.0.1:{metrics}
",
            path("cluster.json").display()
        );
        let log = path("log");
        let mount = Mount::new(directory);
        mount.publish(&format!("{head}{}\n}}\n", launch.block));
        let limited = launch.limits.memory.is_some() || launch.limits.cpu.is_some();
        let group =
            limited.then(|| Group::new(launch.limits).expect("control groups can be made here"));
        let enter = group.as_ref().map(Group::enter).unwrap_or_default();
        let apart = launch.pinned.then(Apart::new);
        let pin = apart.as_ref().map(|apart| format!("taskset -c {} ", apart.own));
        let pin = pin.unwrap_or_default();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("{enter}exec {pin}\"$@\""),
            "sh",
            env!("CARGO_BIN_EXE_periplus"),
        ]);
        command.arg("--conf").arg(mount.corefile());
        let options =
            [("--workers", launch.workers.map(u64::from)), ("--grace-period", launch.grace)];
        for (name, value) in options {
            if let Some(value) = value {
                command.args([name, &value.to_string()]);
            }
        }
        let server = Server {
            process: Process::start(&mut command, &log),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            mount,
            head,
            health,
            metrics,
            group,
            _apart: apart,
        };
        wait_for_page(ready, "/ready");
        server
    }

    /// Writes a Corefile with other lines of the server block; when they are in force is another matter.
    pub(crate) fn configure(&self, block: &str) {
        self.mount.publish(&format!("{}{block}\n}}\n", self.head));
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    /// Reloads that are done.
    pub(crate) fn reloads(&self) -> usize {
        self.said().matches("Reloading complete").count()
    }

    /// Sends a signal: `TERM`, `KILL`, `USR1`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// What is resident, and the most that ever was.
    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let kilobytes =
                line.split_ascii_whitespace().next().and_then(|text| text.parse::<u64>().ok());
            kilobytes.unwrap_or(0) << 10
        };
        Memory { resident: field("VmRSS:"), peak: field("VmHWM:") }
    }

    /// Another `limits.cpu` for one that has some.
    pub(crate) fn limit_cpu(&self, cpu: (u64, u64)) {
        let group = self.group.as_ref().expect("it has limits");
        group.limit_cpu(cpu).expect("a control group can be changed");
    }

    /// Its UDP threads.
    pub(crate) fn workers(&self) -> usize {
        threads(self.process.id()).iter().filter(|name| name.starts_with("udp-")).count()
    }

    /// Its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
    }

    /// Does something, and meanwhile asks `/health` once a second; gives also how often that was, and what was said that is not 200.
    pub(crate) fn watched<T>(&self, act: impl FnOnce() -> T) -> (T, usize, Vec<String>) {
        std::thread::scope(|scope| {
            // Gone when it is done, and when it panics.
            let (running, over) = mpsc::channel::<()>();
            let watch = scope.spawn(move || {
                let (mut asked, mut bad) = (0, Vec::new());
                loop {
                    let begun = Instant::now();
                    let said =
                        page(self.health, "/health").unwrap_or_else(|error| error.to_string());
                    asked += 1;
                    if !said.starts_with("HTTP/1.1 200") {
                        bad.push(said);
                    }
                    let rest = LOOK.saturating_sub(begun.elapsed());
                    if over.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
                        return (asked, bad);
                    }
                }
            });
            let done = act();
            drop(running);
            let (asked, bad) = watch.join().expect("it does not panic");
            (done, asked, bad)
        })
    }

    /// The sum of a metric's series whose line begins with `start`.
    pub(crate) fn metric(&self, start: &str) -> f64 {
        self.series(start).values().sum()
    }

    /// The series of a metric whose lines begin with `start`.
    pub(crate) fn series(&self, start: &str) -> BTreeMap<String, f64> {
        let page = page(self.metrics, "/metrics").unwrap_or_default();
        let lines = page.lines().filter(|line| line.starts_with(start));
        let series = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        series.collect()
    }
}

/// A folder with a Corefile, as the kubelet mounts a ConfigMap: a folder of its own for each version, and one link that is swapped.
struct Mount {
    directory: tempfile::TempDir,
    versions: AtomicUsize,
}

impl Mount {
    fn new(directory: tempfile::TempDir) -> Mount {
        let mount = Mount { directory, versions: AtomicUsize::new(0) };
        symlink("..data/Corefile", mount.corefile()).expect("a link can be made");
        mount
    }

    fn corefile(&self) -> PathBuf {
        self.directory.path().join("Corefile")
    }

    fn publish(&self, corefile: &str) {
        let path = |name: &str| self.directory.path().join(name);
        let version = format!("..{}", self.versions.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(path(&version)).expect("a folder can be made");
        fs::write(path(&version).join("Corefile"), corefile).expect("a file can be written");
        symlink(&version, path("..data_tmp")).expect("a link can be made");
        let before = fs::read_link(path("..data"));
        fs::rename(path("..data_tmp"), path("..data")).expect("a link can be swapped");
        // The kubelet takes the old version away.
        if let Ok(before) = before {
            fs::remove_dir_all(self.directory.path().join(before)).expect("it is there");
        }
    }
}

fn page(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
