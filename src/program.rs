//! A running server: what is open, what runs, and how both change.
//!
//! ```text
//!            load -> build -> open sockets -> swap in -> stop what was before
//! start  -----^        |            |
//! reload -----^        +------------+--> an error up to here changes nothing
//!
//! SIGTERM -> not ready -> answer for the lameduck time, and until traffic is quiet -> drain -> close
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus_core::corefile::{Corefile, Failed, Fingerprint};
use periplus_core::memory::Budget;
use periplus_core::metrics::{Counter, Registry};
use periplus_core::name::Name;
use periplus_core::output::Output;
use periplus_core::setup::{
    HttpAddress, Instance, ListenAddress, PluginKind, Preparation, ReloadInterval, Task,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::configuration::{self, Configuration, Surroundings, working_directory};
use crate::housekeeping;
use crate::net::{ListenError, Listeners};
use crate::source::Source;
use crate::watch::FileWatch;

/// Traffic counts as quiet when nothing was asked for this long.
const QUIET: Duration = Duration::from_secs(1);
/// How often a reload looks whether all is there.
const LOOK: Duration = Duration::from_millis(10);
/// What background tasks get for their last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a server is started.
pub struct Options {
    /// All plugins, in order.
    pub plugins: &'static [PluginKind],
    /// Where the configuration comes from.
    pub source: Source,
    /// Port of plain DNS keys that name none.
    pub default_port: u16,
    /// Worker threads for each UDP address; `None`: one per CPU that the process may use.
    pub workers: Option<usize>,
    /// The longest time that SIGTERM waits for traffic to end.
    pub grace: Duration,
    /// Standard output.
    pub output: Arc<Output>,
}

/// A running server.
pub struct Program {
    options: Options,
    surroundings: Surroundings,
    runtime: Runtime,
    listeners: Listeners,
    admin: Admin,
    running: Running,
    reload_failures: Counter,
    watch: FileWatch,
}

/// The tasks and settings of the configuration that is in force.
struct Running {
    instance: Instance,
    zones: BTreeMap<ListenAddress, Vec<Name>>,
    fingerprint: Fingerprint,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a configuration is not in force.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong: for whoever wrote it.
    Configuration(Box<Failed>),
    /// A DNS socket cannot be opened: for whoever runs the machine.
    Listen(ListenError),
    /// An admin socket cannot be opened.
    Admin(HttpAddress, io::Error),
    /// The runtime cannot be started.
    Runtime(io::Error),
    /// A plugin lacks what its answers are made of, after a reload has waited for so long. It may be there later.
    NotPrepared(&'static str, Duration),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Configuration(failed) => write!(f, "{failed}"),
            StartError::Listen(error) => write!(f, "{error}"),
            StartError::Admin(address, error) => write!(f, "Listen: {address}: {error}"),
            StartError::Runtime(error) => write!(f, "cannot start threads: {error}"),
            StartError::NotPrepared(plugin, patience) => {
                let patience = periplus_core::corefile::print_go_duration(*patience);
                write!(f, "{plugin} has no data to answer from after {patience}")
            }
        }
    }
}

impl std::error::Error for StartError {}

impl Program {
    /// Loads the configuration and starts to answer.
    pub fn start(options: Options) -> Result<Program, StartError> {
        let cpus = cpus();
        let workers = options.workers.unwrap_or(cpus).max(1);
        let metrics = Arc::new(Registry::new(workers));
        let surroundings = Surroundings::new(
            options.plugins,
            options.default_port,
            working_directory(),
            Arc::clone(&metrics),
            Arc::clone(&options.output),
        );
        let (corefile, configuration) = configure(&options.source, &surroundings)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cpus)
            .thread_name("runtime")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        runtime.spawn(housekeeping::keep_memory_small());
        let mut listeners =
            Listeners::new(workers, &metrics, Budget::of_process(), runtime.handle().clone());
        listeners.watch(Arc::clone(&surroundings.liveness));
        let mut admin = Admin::default();
        let reload_failures = metrics.counter(
            "coredns_reload_failed_total",
            "Counter of the number of failed reload attempts.",
            &[],
        );
        metrics.computed(
            "periplus_dropped_log_lines_total",
            "Counter of log lines dropped because standard output was too slow.",
            "counter",
            &[],
            {
                let output = Arc::clone(&options.output);
                move || output.dropped() as f64
            },
        );
        let running = runtime.block_on(put_in_force(
            configuration,
            corefile.fingerprint(),
            false,
            &mut listeners,
            &mut admin,
        ))?;
        let mut watch = FileWatch::default();
        watch.watch(options.source.file(), &corefile.inputs);
        let program = Program {
            options,
            surroundings,
            runtime,
            listeners,
            admin,
            running,
            reload_failures,
            watch,
        };
        program.show_version(None);
        Ok(program)
    }

    /// Loads the configuration again and puts it in force. On an error the one before stays, and the error is also logged and counted.
    pub fn reload(&mut self) -> Result<(), StartError> {
        tracing::info!("Reloading");
        let result = self.try_reload();
        match &result {
            Ok(()) => tracing::info!("Reloading complete"),
            Err(error) => {
                self.reload_failures.add(1);
                tracing::error!("Restart failed: {}", one_line(error));
            }
        }
        result
    }

    fn try_reload(&mut self) -> Result<(), StartError> {
        let (corefile, configuration) = configure(&self.options.source, &self.surroundings)?;
        // What lacks something itself is worth no wait.
        let wait = self.running.instance.preparations.iter().all(|needed| (needed.is_done)());
        let in_force = put_in_force(
            configuration,
            corefile.fingerprint(),
            wait,
            &mut self.listeners,
            &mut self.admin,
        );
        let fresh = self.runtime.block_on(in_force)?;
        let old = std::mem::replace(&mut self.running, fresh);
        self.show_version(Some(old.fingerprint));
        self.runtime.block_on(old.stop());
        Ok(())
    }

    /// Reloads if the configuration is not the one in force and not `tried`, the last one that failed. Gives the fingerprint of a
    /// configuration that failed now.
    pub fn reload_if_changed(&mut self, tried: Option<Fingerprint>) -> Option<Fingerprint> {
        let fingerprint = match self.options.source.load(self.options.default_port) {
            Ok(corefile) => {
                self.watch.watch(self.options.source.file(), &corefile.inputs);
                corefile.fingerprint()
            }
            Err(failed) => {
                self.watch.watch(self.options.source.file(), &failed.inputs);
                let lines = failed.diagnostics.render_lines(&failed.sources);
                tracing::warn!("plugin/reload: Corefile parse failed: {lines}");
                return tried;
            }
        };
        if fingerprint == self.running.fingerprint {
            return None;
        }
        if tried.as_ref() == Some(&fingerprint) {
            return tried;
        }
        match self.reload() {
            Ok(()) => None,
            Err(error) => {
                tracing::error!(
                    "plugin/reload: Corefile changed but reload failed: {}",
                    one_line(&error)
                );
                match error {
                    StartError::NotPrepared(..) => tried,
                    _ => Some(fingerprint),
                }
            }
        }
    }

    /// Looks whether the files behind the configuration are other ones, or others' contents, than when it was last read, without reading
    /// them. A change is told at the first look that finds it settled.
    pub fn files_have_changed(&mut self) -> bool {
        self.watch.look()
    }

    /// How often to look for a changed configuration, if `reload` is there.
    pub fn reload_interval(&self) -> Option<ReloadInterval> {
        self.running.instance.reload
    }

    /// Has as many workers as there are CPUs for now: the limits of a Pod may change while it runs.
    pub fn follow_limits(&mut self) {
        let cpus = cpus();
        if self.options.workers.is_none() && cpus != self.listeners.workers() {
            self.set_workers(cpus);
        }
    }

    /// Serves each UDP address with so many workers from now on.
    pub fn set_workers(&mut self, workers: usize) {
        let before = self.listeners.workers();
        match self.listeners.set_workers(workers) {
            Ok(()) => tracing::info!("{workers} workers for each UDP address, {before} before"),
            Err(error) => tracing::error!("Not all of {workers} workers can be had: {error}"),
        }
    }

    /// The zones of each listen address.
    pub fn zones(&self) -> &BTreeMap<ListenAddress, Vec<Name>> {
        &self.running.zones
    }

    /// Where DNS is served.
    pub fn dns_addresses(&self) -> Vec<(ListenAddress, SocketAddr)> {
        self.listeners.local_addresses()
    }

    /// Where admin pages are served.
    pub fn admin_addresses(&self) -> Vec<(HttpAddress, SocketAddr)> {
        self.admin.local_addresses()
    }

    /// Metrics of the process.
    pub fn metrics(&self) -> &Arc<Registry> {
        &self.surroundings.metrics
    }

    /// The runtime that tasks run on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits until it can close without losing a query: answers for the lameduck time and until traffic has been quiet for a second, at
    /// most for the grace period, and no longer once `hurry` is cancelled.
    pub fn drain(&self, hurry: &CancellationToken) {
        let pause = |time| {
            let hurry = hurry.cancelled();
            let _ = self.runtime.block_on(async { tokio::time::timeout(time, hurry).await });
        };
        let instance = &self.running.instance;
        instance.readiness.stop();
        let begun = Instant::now();
        let lameduck = instance.lameduck;
        if !lameduck.is_zero() {
            tracing::info!(
                "plugin/health: Going into lameduck mode for {}",
                periplus_core::corefile::print_go_duration(lameduck)
            );
            pause(lameduck);
        }
        let mut answered = self.listeners.requests();
        while !hurry.is_cancelled() && begun.elapsed() < lameduck.max(self.options.grace) {
            pause(QUIET.min(self.options.grace));
            let now = self.listeners.requests();
            if now == answered {
                break;
            }
            answered = now;
        }
    }

    /// Closes the sockets after what they hold was answered, and ends all tasks.
    pub fn close(&mut self) {
        self.listeners.close();
        self.runtime.block_on(self.running.end());
    }

    fn show_version(&self, before: Option<Fingerprint>) {
        const NAME: &str = "coredns_reload_version_info";
        if self.running.instance.reload.is_none() {
            return;
        }
        let value = self.running.fingerprint.to_string();
        if let Some(before) =
            before.map(|before| before.to_string()).filter(|before| *before != value)
        {
            self.metrics().remove(NAME, &[("hash", "sha512"), ("value", &before)]);
        }
        let help = "A metric with a constant '1' value labeled by hash, and value which type of hash generated.";
        self.metrics().gauge(NAME, help, &[("hash", "sha512"), ("value", &value)]).set(1.0);
        tracing::info!("plugin/reload: Running configuration SHA512 = {value}");
    }
}

/// CPUs that the process may use: those that it is allowed, or those that the quota of its control group is enough for, rounded down.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn configure(
    source: &Source,
    surroundings: &Surroundings,
) -> Result<(Corefile, Configuration), StartError> {
    let (corefile, configuration) = configuration::load(source, surroundings)
        .map_err(|failed| StartError::Configuration(failed.into()))?;
    for warning in corefile.warnings.iter() {
        tracing::warn!("{}", warning.render_line(&corefile.sources));
    }
    Ok((corefile, configuration))
}

/// Opens everything, and only then swaps it in.
async fn put_in_force(
    configuration: Configuration,
    fingerprint: Fingerprint,
    wait: bool,
    listeners: &mut Listeners,
    admin: &mut Admin,
) -> Result<Running, StartError> {
    let Configuration { servers, zones, mut instance, debug } = configuration;
    let opened = admin
        .open(&instance.pages)
        .await
        .map_err(|(address, error)| StartError::Admin(address, error))?;
    let stop = CancellationToken::new();
    // Where it fails from here on, what was begun ends.
    let guard = stop.clone().drop_guard();
    let begin = |task: Task| tokio::spawn((task.make)(stop.clone()));
    let early = instance.preparations.iter_mut().filter_map(|needed| needed.task.take());
    let mut tasks: Vec<_> = early.map(begin).collect();
    if wait {
        wait_for(&instance.preparations).await?;
    }
    listeners.apply(servers).map_err(StartError::Listen)?;
    admin.apply(opened);
    crate::events::show_debug(debug);
    tasks.extend(std::mem::take(&mut instance.tasks).into_iter().map(begin));
    guard.disarm();
    Ok(Running { instance, zones, fingerprint, stop, tasks })
}

/// Waits for what answers are made of, so that nobody is told that it is missing.
async fn wait_for(preparations: &[Preparation]) -> Result<(), StartError> {
    let begun = Instant::now();
    for needed in preparations {
        while !(needed.is_done)() {
            if begun.elapsed() >= needed.patience {
                return Err(StartError::NotPrepared(needed.name, needed.patience));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

impl Running {
    async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + LAST_WORDS;
        for task in self.tasks.drain(..) {
            let abort = task.abort_handle();
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

fn one_line(error: &StartError) -> String {
    match error {
        StartError::Configuration(failed) => failed.diagnostics.render_lines(&failed.sources),
        other => other.to_string(),
    }
}
