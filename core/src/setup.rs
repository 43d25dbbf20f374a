//! From the words of a Corefile to running plugins, without opening a socket.
//!
//! ```text
//! Corefile -> for each directive, in the fixed order: setup(&mut Setup) -> plugin (or none: it only configures)
//!          -> Instance: what has to be started, served, watched and stopped for this configuration
//! ```
//!
//! A setup function reads its directives into values that cannot be wrong, and registers what it needs: background tasks, pages on the
//! admin HTTP listeners, readiness checks, metrics. The program starts all of it after the whole file was
//! accepted, so that `periplus check` and a failing reload leave no trace.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::corefile::{Diagnostic, Diagnostics, Directive, Key, Scheme, Span, Word, shown};
use crate::identity::Identities;
use crate::lasting::Lasting;
use crate::liveness::Liveness;
use crate::metrics::Registry;
use crate::name::Name;
use crate::output::Output;
use crate::plugin::Plugin;
use crate::server::ObserveDropped;
use crate::zone::Zones;

/// A directive that Periplus knows.
#[derive(Clone, Copy)]
pub struct PluginKind {
    /// The directive's name.
    pub name: &'static str,
    /// Reads the directives of one block. `None`: it only configures and adds no link to the chain.
    pub setup: SetupFn,
}

/// Reads all directives with the plugin's name in one server block; called once per block that has any.
pub type SetupFn = fn(&mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics>;

/// What a setup function is given.
pub struct Setup<'a> {
    /// The plugin's stanzas in this block, in file order; at least one.
    pub directives: &'a [&'a Directive],
    /// The server block, as far as it was read: plugins that come later in the fixed order have not been set up yet.
    pub block: &'a mut BlockConfig,
    /// What the configuration as a whole will run.
    pub instance: &'a mut Instance,
}

/// One server block while its directives are read.
pub struct BlockConfig {
    /// Its keys, CIDR keys expanded.
    pub keys: Vec<Key>,
    /// Zones of the keys, in order, in lower case.
    pub zones: Vec<Name>,
    /// Names of all directives in the block, in the fixed order.
    pub directives: Vec<&'static str>,
    /// Where relative file names of plugins begin (`root`).
    pub root: PathBuf,
    /// Addresses to listen on (`bind`); `None`: the wildcard.
    pub bind: Option<Vec<BindAddress>>,
    /// `debug` is set.
    pub debug: bool,
    /// The block has a plugin that answers other classes than IN.
    pub any_class: bool,
}

impl BlockConfig {
    /// A file name of a directive, relative to `root`.
    pub fn path(&self, text: &str) -> PathBuf {
        self.root.join(text)
    }

    /// Zones given as arguments, or else the block's own.
    pub fn zones_or_own(&self, zones: Vec<Name>) -> Zones {
        if zones.is_empty() { Zones::new(self.zones.iter().cloned()) } else { Zones::new(zones) }
    }

    /// The addresses that the block will be served on, without duplicates, in the order of its keys. Complete once `bind` was read.
    pub fn listeners(&self) -> Vec<ListenAddress> {
        let wildcard = [BindAddress::Wildcard];
        let hosts = self.bind.as_deref().unwrap_or(&wildcard);
        let mut addresses = Vec::new();
        for key in &self.keys {
            for host in hosts {
                let address = ListenAddress { scheme: key.scheme, host: *host, port: key.port };
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        addresses
    }
}

/// The host part of a listen address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindAddress {
    /// All addresses of both families, one dual-stack socket.
    Wildcard,
    /// One address; the number is the interface of an IPv6 link-local one, otherwise 0.
    Address(IpAddr, u32),
}

impl BindAddress {
    /// Where it is listened: `0.0.0.0` and `::` are all addresses of both families, as in Go.
    pub fn listened(self) -> BindAddress {
        match self {
            BindAddress::Address(address, _) if address.is_unspecified() => BindAddress::Wildcard,
            other => other,
        }
    }
}

/// What one socket pair (UDP and TCP) listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenAddress {
    /// Transport.
    pub scheme: Scheme,
    /// Host.
    pub host: BindAddress,
    /// Port.
    pub port: u16,
}

impl ListenAddress {
    /// Whether it stands for all addresses of both families.
    pub fn is_wildcard(&self) -> bool {
        self.host.listened() == BindAddress::Wildcard
    }

    /// The socket address; the wildcard is `[::]`.
    pub fn socket_address(&self) -> SocketAddr {
        match self.host {
            BindAddress::Wildcard => {
                SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), self.port)
            }
            BindAddress::Address(IpAddr::V6(address), scope) => {
                SocketAddrV6::new(address, self.port, 0, scope).into()
            }
            BindAddress::Address(address, _) => SocketAddr::new(address, self.port),
        }
    }
}

/// `scheme://host:port` with an empty host for the wildcard: the metric label `server`.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            BindAddress::Wildcard => write!(f, "{}://:{}", self.scheme, self.port),
            BindAddress::Address(..) => write!(f, "{}://{}", self.scheme, self.socket_address()),
        }
    }
}

/// What one configuration runs beside its chains. A reload makes a new one and stops the old one.
pub struct Instance {
    /// Metrics of the process.
    pub metrics: Arc<Registry>,
    /// Standard output.
    pub output: Arc<Output>,
    /// Readiness of all plugins, for `ready`.
    pub readiness: Arc<Readiness>,
    /// What outlives a reload.
    pub lasting: Arc<Lasting>,
    /// What the process says of itself, for `health`.
    pub liveness: Arc<Liveness>,
    /// Who the clients are, as far as plugins know.
    pub identities: Arc<Identities>,
    /// Background tasks.
    pub tasks: Vec<Task>,
    /// What has to be there before a reload puts the configuration in force.
    pub preparations: Vec<Preparation>,
    /// Pages to serve over HTTP.
    pub pages: Vec<Page>,
    /// Who counts queries that no chain sees.
    pub dropped: Vec<Arc<dyn ObserveDropped>>,
    /// The least time to go on answering after SIGTERM (`health { lameduck }`).
    pub lameduck: Duration,
    /// How often to look for a changed configuration (`reload`).
    pub reload: Option<ReloadInterval>,
    /// Directory of the Corefile's process: where relative names outside `root` begin.
    pub directory: PathBuf,
    common: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Instance {
    /// An empty instance.
    pub fn new(metrics: Arc<Registry>, output: Arc<Output>, directory: &Path) -> Instance {
        Instance {
            metrics,
            output,
            readiness: Arc::default(),
            lasting: Arc::default(),
            liveness: Arc::default(),
            identities: Arc::default(),
            tasks: Vec::new(),
            preparations: Vec::new(),
            pages: Vec::new(),
            dropped: Vec::new(),
            lameduck: Duration::ZERO,
            reload: None,
            directory: directory.to_owned(),
            common: HashMap::new(),
        }
    }

    /// What all server blocks with a plugin have in common, if an earlier block has put it there.
    pub fn common<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.common.get(&TypeId::of::<T>())?).downcast().ok()
    }

    /// Puts there what later blocks with the plugin will find.
    pub fn set_common<T: Any + Send + Sync>(&mut self, value: &Arc<T>) {
        self.common.insert(TypeId::of::<T>(), Arc::clone(value) as Arc<dyn Any + Send + Sync>);
    }

    /// Registers a task that runs as long as the instance. `make` is called on the runtime once the configuration was accepted. The task
    /// should end soon after the token is cancelled; it is aborted after a grace period.
    pub fn spawn<F>(
        &mut self,
        name: &'static str,
        make: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.push(Task { name, make: Box::new(move |stop| Box::pin(make(stop))) });
    }

    /// Registers a task that brings what a block's answers are made of. A reload runs it beside the configuration in force, and is put off until
    /// `is_done`, however long that takes, unless the block lacked it before too. At the start of the process nothing waits.
    pub fn prepare<F>(
        &mut self,
        name: &'static str,
        block: &BlockConfig,
        is_done: impl Fn() -> bool + Send + Sync + 'static,
        make: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = Task { name, make: Box::new(move |stop| Box::pin(make(stop))) };
        let keys = block.keys.iter().map(ToString::to_string).collect();
        let is_done = Arc::new(is_done);
        self.preparations.push(Preparation { name, keys, is_done, task: Some(task) });
    }

    /// All tasks, those that prepare first: for whoever runs them without a server.
    pub fn take_tasks(&mut self) -> Vec<Task> {
        let prepare = self.preparations.iter_mut().filter_map(|needed| needed.task.take());
        prepare.chain(self.tasks.drain(..)).collect()
    }

    /// Registers a page of an admin HTTP listener. All pages with the same address share one listener, which
    /// survives reloads. Where it cannot be opened, the configuration is refused for this directive.
    pub fn serve(
        &mut self,
        directive: &Directive,
        address: HttpAddress,
        path: &'static str,
        content: impl Fn() -> PageContent + Send + Sync + 'static,
    ) {
        let required = Some(directive.name.span);
        self.pages.push(Page { address, path, content: Arc::new(content), required });
    }

    /// The same for a page that the server can do without: where its listener cannot be opened, that is logged.
    pub fn serve_if_possible(
        &mut self,
        address: HttpAddress,
        path: &'static str,
        content: impl Fn() -> PageContent + Send + Sync + 'static,
    ) {
        self.pages.push(Page { address, path, content: Arc::new(content), required: None });
    }
}

/// A background task before it runs.
pub struct Task {
    /// For logs.
    pub name: &'static str,
    /// Makes the future.
    pub make: Box<dyn FnOnce(CancellationToken) -> TaskFuture + Send>,
}

/// What has to be there before a reload puts a configuration in force.
pub struct Preparation {
    /// The plugin.
    pub name: &'static str,
    /// The keys of the server block that answers from it.
    pub keys: Vec<String>,
    /// Whether it is there.
    pub is_done: Arc<dyn Fn() -> bool + Send + Sync>,
    /// What brings it, until it runs.
    pub task: Option<Task>,
}

impl Preparation {
    /// Whether one of another configuration was for the same plugin and some of the same keys.
    pub fn takes_place_of(&self, other: &Preparation) -> bool {
        self.name == other.name && self.keys.iter().any(|key| other.keys.contains(key))
    }
}

/// A background task that runs.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One page of an admin HTTP listener. Answers GET and HEAD; other paths of the listener are 404.
pub struct Page {
    /// Where to listen.
    pub address: HttpAddress,
    /// The exact path.
    pub path: &'static str,
    /// Makes the content for each request; must not block.
    pub content: Arc<dyn Fn() -> PageContent + Send + Sync>,
    /// For which word the configuration is refused when its listener cannot be opened, if it is.
    pub required: Option<Span>,
}

/// What a page says.
pub struct PageContent {
    /// HTTP status code.
    pub status: u16,
    /// Media type.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
}

impl PageContent {
    /// A plain text page.
    pub fn text(status: u16, body: impl Into<String>) -> PageContent {
        PageContent { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// `host:port` of an admin listener; an empty host is the wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpAddress {
    /// Address, `localhost`, or nothing.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl HttpAddress {
    /// Reads `host:port`, `:port` or `[v6]:port`; `None` if it is none of these.
    pub fn parse(text: &str) -> Option<HttpAddress> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let known = host.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok();
        Some(HttpAddress { host: host.to_owned(), port: port.parse().ok().filter(|_| known)? })
    }

    /// Reads a word of a directive.
    pub fn read(word: &Word) -> Result<HttpAddress, Diagnostic> {
        HttpAddress::parse(&word.text).ok_or_else(|| {
            word.error(format!("'{}' is not an address to listen on", shown(&word.text))).with_help(
                "write host:port, [v6]:port or :port; the host is an IP address or localhost",
            )
        })
    }

    /// The address to bind.
    pub fn socket_address(&self) -> SocketAddr {
        let host = match self.host.as_str() {
            "" => IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED),
            text => text.parse().unwrap_or(IpAddr::from(std::net::Ipv4Addr::LOCALHOST)),
        };
        SocketAddr::new(host, self.port)
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How often `reload` looks at the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadInterval {
    /// Time between two looks.
    pub interval: Duration,
    /// The interval varies by up to half of this in each direction.
    pub jitter: Duration,
}

/// Which plugins are ready to serve.
#[derive(Default)]
pub struct Readiness {
    checks: Mutex<Vec<(&'static str, ReadinessCheck)>>,
    continuous: AtomicBool,
    stopping: AtomicBool,
}

/// Answers whether a plugin is ready, and says more about it if there is something to say.
pub type ReadinessCheck = Arc<dyn Fn() -> ReadinessState + Send + Sync>;

/// What a plugin says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadinessState {
    /// Whether queries can be sent here.
    pub ready: bool,
    /// What is wrong or degraded, one line each; may be there while ready.
    pub remarks: Vec<String>,
}

impl Readiness {
    /// Adds a plugin's check.
    pub fn add(
        &self,
        plugin: &'static str,
        check: impl Fn() -> ReadinessState + Send + Sync + 'static,
    ) {
        self.lock().push((plugin, Arc::new(check)));
    }

    /// From now on nothing is ready: the process is about to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the process is about to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// All checks, in the order of setup.
    pub fn checks(&self) -> Vec<(&'static str, ReadinessCheck)> {
        self.lock().clone()
    }

    /// Whether a plugin that was ready once is asked again (`ready { monitor }`). One setting per instance: the last one made counts.
    pub fn set_continuous(&self, continuous: bool) {
        self.continuous.store(continuous, Ordering::Relaxed);
    }

    /// See [`Readiness::set_continuous`].
    pub fn is_continuous(&self) -> bool {
        self.continuous.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, ReadinessCheck)>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
