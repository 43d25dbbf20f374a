//! The servers that are compared: how each is found, configured and started, and when it is ready.

mod kubeadm;
mod static_zones;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tempfile::TempDir;

pub(crate) use kubeadm::{Ports, corefile};

use crate::Result;
use crate::api::Api;
use crate::check::ask_udp;
use crate::cluster::Cluster;
use crate::process::{Cpu, Launch, Process};
use crate::question::{A, Question};
use crate::scenario::Scenario;

/// How long a server may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look whether it is.
const LOOK: Duration = Duration::from_millis(2);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// UDP echo: what receiving and sending alone cost
    Floor,
    /// This server
    Periplus,
    /// CoreDNS, from COREDNS_BIN
    Coredns,
    /// NSD, with zone files of the same names
    Nsd,
    /// Knot DNS, with zone files of the same names
    Knot,
}

/// What a server is started for.
#[derive(Clone, Copy)]
pub(crate) struct Purpose<'a> {
    pub(crate) scenario: Scenario,
    pub(crate) cluster: &'a Cluster,
    pub(crate) api: &'a Api,
    pub(crate) upstream: SocketAddr,
    /// Workers, and CPUs for them.
    pub(crate) workers: u16,
}

/// A server that answers.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) dns: SocketAddr,
    /// From the start of the process until it was ready: time, and CPU time.
    pub(crate) ready_after: Duration,
    pub(crate) ready_cpu: Cpu,
    /// Its configuration and what it said; removed with it.
    _directory: TempDir,
}

/// How to start a server, and where to see that it is ready.
struct Recipe {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// The admin listener that has `/ready`.
    ready: Option<SocketAddr>,
}

impl Kind {
    /// Its name on the command line and in results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it can answer what a scenario asks.
    pub(crate) fn takes_part_in(self, scenario: Scenario) -> bool {
        use Scenario::{CacheHit, Churn, Log, Pods, Relist, Stampede, Top, Workers};
        match self {
            Kind::Periplus => true,
            Kind::Coredns => scenario != Top,
            _ if matches!(scenario, Relist | Churn | Workers) => false,
            Kind::Floor => !scenario.is_tcp() && scenario != Stampede,
            Kind::Nsd | Kind::Knot => {
                !scenario.needs_upstream() && !matches!(scenario, CacheHit | Log | Pods | Top)
            }
        }
    }

    /// The program, if it is on this machine.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Kind::Floor => std::env::current_exe().ok(),
            Kind::Periplus => {
                named("PERIPLUS_BIN").or_else(|| Some(repository().join("target/release/periplus")))
            }
            Kind::Coredns => named("COREDNS_BIN"),
            Kind::Nsd => installed("nsd"),
            Kind::Knot => installed("knotd"),
        }
    }

    /// Why it does not take part when [`Kind::program`] finds nothing.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Kind::Floor | Kind::Periplus => "not built",
            Kind::Coredns => "COREDNS_BIN does not name it",
            Kind::Nsd => "not installed (Debian package nsd)",
            Kind::Knot => "not installed (Debian package knot)",
        }
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(self, purpose: &Purpose<'_>) -> Result<Running> {
        let program = self.program().ok_or_else(|| format!("{}: {}", self.name(), self.hint()))?;
        let directory = TempDir::with_prefix("periplus-bench-")?;
        let dns = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let recipe = match self {
            Kind::Floor => {
                let arguments = vec!["floor".into(), dns.to_string()];
                Recipe { program, arguments, environment: Vec::new(), ready: None }
            }
            Kind::Periplus | Kind::Coredns => {
                kubeadm::recipe(self, program, purpose, dns, directory.path())?
            }
            Kind::Nsd => static_zones::nsd(program, purpose, dns, directory.path())?,
            Kind::Knot => static_zones::knot(program, purpose, dns, directory.path())?,
        };
        let said = directory.path().join("said");
        let begun = Instant::now();
        let mut process = Process::start(&Launch {
            program: &recipe.program,
            arguments: &recipe.arguments,
            environment: &recipe.environment,
            cpus: purpose.workers,
            said: &said,
            drained: purpose.scenario == Scenario::Log,
        })?;
        let last = purpose.cluster.numbered().last().ok_or("the cluster has no services")?;
        let mut questions = vec![Question::new(&last.domain(), A, 0, 1)?];
        if let Some(pod) = purpose.cluster.pods.last() {
            questions.push(Question::new(&pod.domain(), A, 0, 1)?);
        }
        if self == Kind::Floor {
            questions.iter_mut().for_each(|question| question.expected.answers = 0);
        }
        while !is_ready(dns, recipe.ready, &questions) {
            if !process.is_running() || begun.elapsed() > PATIENCE {
                let text = std::fs::read_to_string(&said).unwrap_or_default();
                return Err(format!("{} did not get ready:\n{text}", self.name()).into());
            }
            std::thread::sleep(LOOK);
        }
        let (ready_after, ready_cpu) = (begun.elapsed(), process.cpu());
        Ok(Running { process, dns, ready_after, ready_cpu, _directory: directory })
    }
}

/// Ready is who says so, where that can be asked, and answers for the last of all names.
fn is_ready(dns: SocketAddr, page: Option<SocketAddr>, questions: &[Question]) -> bool {
    if page.is_some_and(|page| !says_ready(page).unwrap_or(false)) {
        return false;
    }
    questions.iter().all(|question| {
        ask_udp(dns, &question.message).is_ok_and(|response| question.expected.fits(&response))
    })
}

fn says_ready(page: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&page, Duration::from_millis(100))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response.split(' ').nth(1) == Some("200"))
}

/// A port that is free for UDP and TCP at the moment.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let port = tcp.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port in 100 tries".into())
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.exists())
}

fn installed(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// The root of the repository that this was built from.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
