//! Answers questions in this process, without sockets: what valgrind counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus::configuration::{self, Surroundings};
use periplus::source::Source;
use periplus_core::encode::Compressor;
use periplus_core::metrics::{CellPool, Registry, claim_cell};
use periplus_core::output::Output;
use periplus_core::query::{Query, Transport};
use periplus_core::server::{Response, Server};
use periplus_core::setup::Instance;
use tokio_util::sync::CancellationToken;

use crate::Result;
use crate::api::list;
use crate::cluster::Cluster;
use crate::question::Questions;
use crate::scenario::Scenario;
use crate::servers::{Ports, corefile};
use crate::upstream::Upstream;

/// How long the snapshot may take to be read, under valgrind.
const PATIENCE: Duration = Duration::from_secs(120);

/// One kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    A,
    Mix,
    /// The mix with `top`, from so many clients and for so many names that hardly any has a counter: the most that it costs.
    MixTop,
    Ptr,
    Nxdomain,
    CacheHit,
}

impl Path {
    pub(super) const ALL: [Path; 6] =
        [Path::A, Path::Mix, Path::MixTop, Path::Ptr, Path::Nxdomain, Path::CacheHit];

    pub(super) fn name(self) -> &'static str {
        match self {
            Path::A => "service-a",
            Path::Mix => "cluster-mix",
            Path::MixTop => "cluster-mix-top",
            Path::Ptr => "ptr",
            Path::Nxdomain => "nxdomain",
            Path::CacheHit => "cache-hit",
        }
    }

    /// Who asks the question with this number.
    fn client(self, at: u64) -> SocketAddr {
        let [.., high, low] = match self {
            Path::MixTop => (at % 10_000).to_be_bytes(),
            _ => 1_u64.to_be_bytes(),
        };
        SocketAddr::from(([127, 0, high, low], 40_000))
    }

    fn questions(self, cluster: &Cluster) -> Result<Questions> {
        match self {
            Path::A => Scenario::A.questions(cluster),
            Path::Mix | Path::MixTop => Scenario::Mix.questions(cluster),
            Path::Ptr => Scenario::Ptr.questions(cluster),
            Path::CacheHit => Scenario::CacheHit.questions(cluster),
            Path::Nxdomain => match Scenario::Mix.questions(cluster)? {
                Questions::Fixed(mut all) => {
                    all.retain(|question| question.expected.rcode == 3);
                    Ok(Questions::Fixed(all))
                }
                fresh @ Questions::Fresh { .. } => Ok(fresh),
            },
        }
    }
}

/// Answers `count` questions, each checked; the whole chain that kubeadm configures, on a snapshot of 1,000 services.
pub(crate) fn drive(path: &str, count: u64) -> Result<()> {
    let path =
        Path::ALL.into_iter().find(|one| one.name() == path).ok_or("no such kind of question")?;
    let cluster = Cluster::new(1_000);
    let questions = path.questions(&cluster)?;
    let upstream = Upstream::start()?;
    let directory = tempfile::tempdir()?;
    let snapshot = directory.path().join("cluster.json");
    std::fs::write(&snapshot, list(&cluster).to_string())?;
    let ports = Ports { dns: 1053, health: 1, ready: 2, metrics: 3 };
    let text = corefile(
        &format!("snapshot {}", snapshot.display()),
        "insecure",
        upstream.address,
        ports,
        (path == Path::MixTop).then_some("top"),
    );

    // Background tasks run only while something is waited for, so that they do not count.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let metrics = Arc::new(Registry::new(1));
    let cells = CellPool::new(metrics.workers());
    let _cell = claim_cell(&cells);
    let surroundings = Surroundings::new(
        periplus_plugins::ORDER,
        1053,
        directory.path().to_owned(),
        metrics,
        Output::new(std::io::sink()),
    );
    let source = Source::Text { name: "Corefile".into(), text };
    let (_, configuration) =
        configuration::load(&source, &surroundings).map_err(|failed| failed.to_string())?;
    let mut instance = configuration.instance;
    let server = configuration.servers.into_values().next().ok_or("no server block")?;
    runtime.block_on(ready(&mut instance))?;
    ask(&server, &questions, path, count, &runtime)
}

/// Runs the background tasks until all plugins are ready.
async fn ready(instance: &mut Instance) -> Result<()> {
    let stop = CancellationToken::new();
    for task in instance.take_tasks() {
        tokio::spawn((task.make)(stop.clone()));
    }
    let begun = Instant::now();
    while !instance.readiness.checks().iter().all(|(_, check)| check().ready) {
        if begun.elapsed() > PATIENCE {
            return Err("the snapshot was not read in time".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn ask(
    server: &Arc<Server>,
    questions: &Questions,
    path: Path,
    count: u64,
    runtime: &tokio::runtime::Runtime,
) -> Result<()> {
    let mut query = Query::empty();
    query.transport = Transport::Udp;
    query.local = SocketAddr::from(([127, 0, 0, 1], 1053));
    let mut compressor = Compressor::new();
    let mut message = Vec::new();
    let mut response = Vec::new();
    for at in 0..count {
        message.clear();
        response.clear();
        questions.write(at, at as u16, &mut message);
        query.peer = path.client(at);
        query.received = Instant::now();
        if let Response::Later(mut waiting) =
            server.respond(&message, &mut query, true, &mut compressor, &mut response)
        {
            // The first time that a name outside the cluster is asked for.
            let answer = runtime.block_on(waiting.answer());
            waiting.encode(&answer, &mut compressor, &mut response);
        }
        if !questions.expected(at).fits(&response) {
            return Err(format!("question {at} was answered wrongly").into());
        }
    }
    Ok(())
}
