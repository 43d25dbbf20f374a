//! A running server: what is open, what runs, and how both change.
//!
//! ```text
//!            load -> build -> open sockets -> swap in -> stop what was before
//! start  -----^        |            |
//! reload -----^        |            |
//!                      |            +--> an error up to here changes nothing
//!                      +--> where data is missing that is there now: put off until it has come
//!
//! SIGTERM -> not ready -> answer for the lameduck time, and until traffic is quiet -> drain -> close
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus_core::corefile::{Corefile, Failed, Fingerprint, Severity, Sources};
use periplus_core::memory::Budget;
use periplus_core::metrics::{Counter, Registry};
use periplus_core::name::Name;
use periplus_core::output::Output;
use periplus_core::setup::{
    HttpAddress, Instance, ListenAddress, PluginKind, ReloadInterval, Task,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::admin::Admin;
use crate::configuration::{self, Configuration, Surroundings, working_directory};
use crate::housekeeping;
use crate::net::{ListenError, Listeners};
use crate::source::Source;
use crate::watch::FileWatch;

/// Traffic counts as quiet when nothing was asked for this long.
const QUIET: Duration = Duration::from_secs(1);
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
    runtime: OwnRuntime,
    listeners: Listeners,
    admin: Admin,
    running: Running,
    /// The reload that is put off until its data is there.
    put_off: Option<Next>,
    /// The configuration that a reload failed with, which is not tried again.
    failed: Option<Fingerprint>,
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

/// A configuration that is to be in force, and the tasks that get what its answers are made of. They end when it is dropped.
struct Next {
    configuration: Configuration,
    /// What it was read from, to say where something is asked for that cannot be had.
    sources: Sources,
    fingerprint: Fingerprint,
    stop: CancellationToken,
    guard: DropGuard,
    tasks: Vec<JoinHandle<()>>,
}

/// `FILE:LINE:COLUMN`.
pub type Place = String;

/// Why a configuration is not in force.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong: for whoever wrote it.
    Configuration(Box<Failed>),
    /// A DNS socket cannot be opened that is asked for at this place: for whoever runs the machine.
    Listen(Place, ListenError),
    /// The same for an admin socket.
    Admin(Place, HttpAddress, io::Error),
    /// The runtime cannot be started.
    Runtime(io::Error),
    /// A plugin lacks what its answers are made of. The reload is put off until it is there.
    NotPrepared(&'static str),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Configuration(failed) => write!(f, "{failed}"),
            StartError::Listen(place, error) => write!(f, "{place}: {error}"),
            StartError::Admin(place, address, error) => {
                write!(f, "{place}: Listen: {address}: {error}")
            }
            StartError::Runtime(error) => write!(f, "cannot start threads: {error}"),
            StartError::NotPrepared(plugin) => {
                write!(f, "{plugin} has no data to answer from yet")
            }
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// Whether the same configuration may be right at another time, as when a file was missing that it names.
    fn may_pass(&self) -> bool {
        match self {
            StartError::Configuration(failed) => {
                let mut errors =
                    failed.diagnostics.iter().filter(|found| found.severity == Severity::Error);
                errors.all(|error| error.may_pass)
            }
            _ => false,
        }
    }
}

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
            .map(|runtime| OwnRuntime(Some(runtime)))
            .map_err(StartError::Runtime)?;
        let budget = Budget::of_process();
        runtime.spawn(housekeeping::keep_memory_small(budget));
        let mut listeners = Listeners::new(workers, &metrics, budget, runtime.handle().clone());
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
        let next = Next::begin(configuration, &corefile, &runtime);
        let running = next.put_in_force(&runtime, &mut listeners, &mut admin)?;
        let mut watch = FileWatch::default();
        watch.watch(options.source.file(), &corefile.inputs);
        let program = Program {
            options,
            surroundings,
            runtime,
            listeners,
            admin,
            running,
            put_off: None,
            failed: None,
            reload_failures,
            watch,
        };
        program.show_version(None);
        Ok(program)
    }

    /// Loads the configuration again and puts it in force. On an error the one before stays, and the error is also logged and counted.
    ///
    /// Where data is missing the reload is only put off; [`Program::go_on`] puts it in force.
    pub fn reload(&mut self) -> Result<(), StartError> {
        tracing::info!("Reloading");
        // What was put off ends after this one has begun: both may need the same data.
        let _before = self.put_off.take();
        let result = self.try_reload();
        self.tell(&result);
        result
    }

    fn try_reload(&mut self) -> Result<(), StartError> {
        let (corefile, configuration) = configure(&self.options.source, &self.surroundings)?;
        let next = Next::begin(configuration, &corefile, &self.runtime);
        match next.lacks(&self.running.instance) {
            Some(plugin) => {
                self.put_off = Some(next);
                Err(StartError::NotPrepared(plugin))
            }
            None => self.replace(next),
        }
    }

    fn replace(&mut self, next: Next) -> Result<(), StartError> {
        let fresh = next.put_in_force(&self.runtime, &mut self.listeners, &mut self.admin)?;
        let old = std::mem::replace(&mut self.running, fresh);
        self.show_version(Some(old.fingerprint));
        self.runtime.block_on(old.stop());
        Ok(())
    }

    fn tell(&self, result: &Result<(), StartError>) {
        match result {
            Ok(()) => tracing::info!("Reloading complete"),
            Err(error @ StartError::NotPrepared(_)) => {
                tracing::info!("Reload put off, what is in force stays: {error}");
            }
            Err(error) => {
                self.reload_failures.add(1);
                tracing::error!("Restart failed: {}", one_line(error));
            }
        }
    }

    /// Whether a reload is put off until its data is there.
    pub fn is_put_off(&self) -> bool {
        self.put_off.is_some()
    }

    /// Puts the reload in force that was put off, if its data is there now.
    pub fn go_on(&mut self) {
        let running = &self.running.instance;
        if let Some(next) = self.put_off.take_if(|next| next.lacks(running).is_none()) {
            let fingerprint = next.fingerprint;
            let result = self.replace(next);
            self.failed = result.is_err().then_some(fingerprint);
            self.tell(&result);
        }
    }

    /// Reloads if the configuration is not the one in force, nor put off, nor the last one that failed.
    pub fn reload_if_changed(&mut self) {
        let fingerprint = match self.options.source.load(self.options.default_port) {
            Ok(corefile) => {
                self.watch.watch(self.options.source.file(), &corefile.inputs);
                corefile.fingerprint()
            }
            Err(failed) => {
                self.watch.watch(self.options.source.file(), &failed.inputs);
                let lines = failed.diagnostics.render_lines(&failed.sources);
                tracing::warn!("plugin/reload: Corefile parse failed: {lines}");
                return;
            }
        };
        if fingerprint == self.running.fingerprint {
            if self.put_off.take().is_some() {
                tracing::info!(
                    "The configuration is again the one in force, nothing is put off any more"
                );
            }
            self.failed = None;
            return;
        }
        let is_put_off = self.put_off.as_ref().is_some_and(|next| next.fingerprint == fingerprint);
        if is_put_off || self.failed.as_ref() == Some(&fingerprint) {
            return;
        }
        self.failed = match self.reload() {
            Ok(()) | Err(StartError::NotPrepared(_)) => None,
            Err(error) => {
                tracing::error!(
                    "plugin/reload: Corefile changed but reload failed: {}",
                    one_line(&error)
                );
                (!error.may_pass()).then_some(fingerprint)
            }
        };
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
        self.put_off = None;
        self.listeners.close();
        self.runtime.block_on(async { tokio::join!(self.admin.close(), self.running.end()) });
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

/// The runtime. It ends even while something blocks in it: a program that a kubeconfig names for its credentials may hang.
struct OwnRuntime(Option<Runtime>);

impl Deref for OwnRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(LAST_WORDS);
        }
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

impl Next {
    /// Begins to get what answers are made of.
    fn begin(mut configuration: Configuration, corefile: &Corefile, runtime: &Runtime) -> Next {
        let _on = runtime.enter();
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let needed = configuration.instance.preparations.iter_mut();
        let tasks = needed.filter_map(|needed| needed.task.take());
        let tasks = tasks.map(|task| begin(task, &stop)).collect();
        let (sources, fingerprint) = (corefile.sources.clone(), corefile.fingerprint());
        Next { configuration, sources, fingerprint, stop, guard, tasks }
    }

    /// The first plugin without data that takes the place of one with data: nobody is to be told that what was there is missing.
    fn lacks(&self, running: &Instance) -> Option<&'static str> {
        let lacking = self.configuration.instance.preparations.iter().find(|needed| {
            let replaced = running.preparations.iter().filter(|old| needed.takes_place_of(old));
            let replaced: Vec<bool> = replaced.map(|old| (old.is_done)()).collect();
            // Data for a new place is waited for too: what answers there now may be better than nothing.
            !(needed.is_done)() && (replaced.is_empty() || replaced.contains(&true))
        });
        lacking.map(|needed| needed.name)
    }

    /// Opens everything, and only then swaps it in.
    fn put_in_force(
        self,
        runtime: &Runtime,
        listeners: &mut Listeners,
        admin: &mut Admin,
    ) -> Result<Running, StartError> {
        let _on = runtime.enter();
        let Next { configuration, sources, fingerprint, stop, guard, mut tasks } = self;
        let Configuration { servers, places, zones, mut instance, debug } = configuration;
        let opened = admin.open(&instance.pages).map_err(|(word, address, error)| {
            StartError::Admin(sources.place(word), address, error)
        })?;
        listeners.apply(servers).map_err(|(address, error)| {
            StartError::Listen(sources.place(places[&address]), error)
        })?;
        admin.apply(opened);
        crate::events::show_debug(debug);
        tasks
            .extend(std::mem::take(&mut instance.tasks).into_iter().map(|task| begin(task, &stop)));
        guard.disarm();
        Ok(Running { instance, zones, fingerprint, stop, tasks })
    }
}

fn begin(task: Task, stop: &CancellationToken) -> JoinHandle<()> {
    tokio::spawn((task.make)(stop.clone()))
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
