use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::corefile::{
    self, Diagnostic, Diagnostics, Directive, Line, Word, unknown_property,
};
use periplus_core::interfaces::interface_addresses;
use periplus_core::name::Name;
use periplus_core::plugin::Plugin;
use periplus_core::setup::{BlockConfig, ReadinessState, Setup};
use periplus_core::zone::Fallthrough;

use super::handler::Kubernetes;
use super::index::{Index, IndexSettings};
use super::objects::Resource;
use super::shared::{PodMode, Shared};
use super::source::{self, Origin, Settings, SettingsError, Source, Tls};
use super::zone::{self, ServedZone};
use super::{Metrics, NAME};

/// TTL in seconds: default and range.
const DEFAULT_TTL: u32 = 5;
const TTL_RANGE: RangeInclusive<u32> = 0..=3600;
/// After how long without the cluster's objects the log says so.
const DEFAULT_STARTUP_TIMEOUT: Duration = Duration::from_secs(5);
const POD_MODES: [(&str, PodMode); 3] = [
    ("disabled", PodMode::Disabled),
    ("insecure", PodMode::Insecure),
    ("verified", PodMode::Verified),
];
const PROPERTIES: &[&str] = &[
    "apiserver_burst",
    "apiserver_max_inflight",
    "apiserver_qps",
    "endpoint",
    "endpoint_pod_names",
    "fallthrough",
    "ignore",
    "kubeconfig",
    "labels",
    "namespace_labels",
    "namespaces",
    "noendpoints",
    "pods",
    "snapshot",
    "startup_timeout",
    "tls",
    "ttl",
];

/// What is known of a cluster, and what keeps it up to date.
struct Cluster {
    index: Arc<Index>,
    source: Source,
}

/// Reads `kubernetes [ZONES...] { ... }`.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = corefile::only_once(setup.directives)?;
    let options = Options::parse(directive, setup.block)?;
    let settings = options.source_settings();
    match source::check(&settings) {
        // A file is checked on other machines than the one it is for. There, the start says what is missing, and goes on trying.
        Ok(()) | Err(SettingsError::NotInCluster { .. }) => {}
        Err(error) => return Err(refused(directive, &error).into()),
    }
    let instance = &mut *setup.instance;
    let index_settings = options.index_settings();
    // A reload that changes nothing here goes on with the same index and the same watches.
    let name = options.name_of_data();
    let cluster = instance.lasting.get_or_make(&name, || {
        let index = Index::new(index_settings).with_metrics(Metrics::new(&instance.metrics));
        let index = Arc::new(index);
        let source = Source::new(settings, Arc::clone(&index), &instance.metrics);
        Cluster { index, source }
    });
    let index = Arc::clone(&cluster.index);
    let (watched, state) = (Arc::clone(&index), Arc::clone(cluster.source.state()));
    instance
        .readiness
        .add(NAME, move || ReadinessState { ready: watched.is_synced(), remarks: state.remarks() });
    let (metrics, state) = (Arc::clone(&instance.metrics), Arc::clone(cluster.source.state()));
    // Not before it is in force: until then the series of this origin are about the source that is.
    instance.spawn(NAME, move |_| async move { source::register_state(&metrics, &state) });
    let watched = Arc::clone(&index);
    instance.prepare(
        NAME,
        setup.block,
        move || watched.is_synced(),
        move |stop| async move {
            cluster.source.start();
            stop.cancelled().await;
        },
    );
    if options.pods == PodMode::Verified {
        let known = Arc::clone(&index);
        instance.identities.add(move |holders| known.tell_namespaces(holders));
    }
    let local_addresses = local_addresses(setup.block);
    Ok(Some(Arc::new(Kubernetes(Arc::new(options.shared(index, local_addresses))))))
}

/// What the directive says.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) zones: Vec<Name>,
    pub(super) primary_zone: Name,
    pub(super) pods: PodMode,
    pub(super) ttl: u32,
    pub(super) endpoint_pod_names: bool,
    pub(super) no_endpoints: bool,
    pub(super) ignore_empty_service: bool,
    pub(super) fallthrough: Fallthrough,
    pub(super) namespaces: Vec<String>,
    pub(super) namespace_labels: Option<String>,
    pub(super) labels: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) kubeconfig: Option<Origin>,
    pub(super) snapshot: Option<Origin>,
    pub(super) qps: f32,
    pub(super) burst: u32,
    pub(super) max_inflight: u32,
    pub(super) startup_timeout: Duration,
}

impl Options {
    fn parse(directive: &Directive, block: &BlockConfig) -> Result<Options, Diagnostics> {
        let mut errors = Diagnostics::default();
        let zones = match &directive.arguments[..] {
            [] => block.zones.clone(),
            words => corefile::zones(words),
        };
        let primary_zone = primary_zone(&zones).unwrap_or_else(|| {
            let error = directive.name.error("non-reverse zone name must be used");
            errors.push(
                error.with_help("add the cluster's domain to the zones, for example cluster.local"),
            );
            Name::root()
        });
        let mut options = Options::new(zones, primary_zone);
        for line in directive.lines() {
            if let Err(error) = options.read(line, block) {
                errors.push(error);
            }
        }
        if let Err(error) = options.consistent(directive) {
            errors.push(error);
        }
        if errors.has_errors() { Err(errors) } else { Ok(options) }
    }

    pub(super) fn new(zones: Vec<Name>, primary_zone: Name) -> Options {
        Options {
            zones,
            primary_zone,
            pods: PodMode::default(),
            ttl: DEFAULT_TTL,
            endpoint_pod_names: false,
            no_endpoints: false,
            ignore_empty_service: false,
            fallthrough: Fallthrough::default(),
            namespaces: Vec::new(),
            namespace_labels: None,
            labels: None,
            endpoint: None,
            tls: None,
            kubeconfig: None,
            snapshot: None,
            qps: 0.0,
            burst: 0,
            max_inflight: 0,
            startup_timeout: DEFAULT_STARTUP_TIMEOUT,
        }
    }

    fn read(&mut self, line: &Line, block: &BlockConfig) -> Result<(), Diagnostic> {
        let mut words = line.words();
        match line.name.text.as_str() {
            "endpoint" => {
                let url = words.required("the API server's URL")?;
                if words.next().is_some() {
                    tracing::warn!(
                        "plugin/kubernetes: only the first endpoint is used: {}",
                        url.text
                    );
                }
                self.endpoint = Some(url.text.clone());
            }
            "tls" => {
                let mut file = |what| words.required(what).map(|word| word.text.clone().into());
                let certificate = file("a client certificate")?;
                self.tls = Some(Tls {
                    certificate,
                    key: file("its key")?,
                    authority: file("a CA certificate")?,
                });
                words.end()?;
            }
            "kubeconfig" => {
                let path = words.required("a file")?.text.clone().into();
                let context = words.next().map(|word| word.text.clone());
                self.kubeconfig = Some(Origin::Kubeconfig { path, context });
                words.end()?;
            }
            "snapshot" => {
                let path = block.path(&words.required("a file or folder of manifests")?.text);
                self.snapshot = Some(Origin::Snapshot(path));
                words.end()?;
            }
            "namespaces" => self
                .namespaces
                .extend(all(line, "a namespace")?.iter().map(|word| word.text.clone())),
            "namespace_labels" => self.namespace_labels = Some(selector(line)?),
            "labels" => self.labels = Some(selector(line)?),
            "pods" => {
                self.pods = words.one_of("a mode", &POD_MODES)?;
                words.end()?;
            }
            "endpoint_pod_names" => {
                line.no_arguments()?;
                self.endpoint_pod_names = true;
            }
            "noendpoints" => {
                line.no_arguments()?;
                self.no_endpoints = true;
            }
            "ttl" => self.ttl = words.integer("a TTL in seconds", TTL_RANGE)?,
            // Without an argument it does nothing, as in CoreDNS.
            "ignore" if words.peek().is_some() => {
                self.ignore_empty_service =
                    words.one_of("empty_service", &[("empty_service", true)])?;
            }
            "ignore" => {}
            "startup_timeout" => {
                self.startup_timeout =
                    words.duration("a duration", Duration::ZERO..=Duration::MAX)?;
            }
            "apiserver_qps" => {
                self.qps = rate(words.required("requests per second")?)?;
                words.end()?;
            }
            "apiserver_burst" => {
                self.burst = words.integer("a number of requests", 0..=u32::MAX)?;
                words.end()?;
            }
            "apiserver_max_inflight" => {
                self.max_inflight = words.integer("a number of requests", 0..=u32::MAX)?;
                words.end()?;
            }
            "fallthrough" => self.fallthrough = corefile::fallthrough(line),
            "zonal" | "multicluster" => return Err(not_yet(&line.name)),
            _ => return Err(unknown_property(&line.name, PROPERTIES)),
        }
        Ok(())
    }

    fn consistent(&self, directive: &Directive) -> Result<(), Diagnostic> {
        if !self.namespaces.is_empty() && self.namespace_labels.is_some() {
            let error = directive.name.error("namespaces and namespace_labels cannot both be set");
            return Err(error.with_help("remove one of them"));
        }
        let server = self.endpoint.is_some() || self.tls.is_some() || self.kubeconfig.is_some();
        if self.snapshot.is_some() && server {
            let error = directive.name.error("a snapshot has no API server");
            return Err(error.with_help("remove snapshot, or remove endpoint, tls and kubeconfig"));
        }
        Ok(())
    }

    fn origin(&self) -> Origin {
        let endpoint = self
            .endpoint
            .as_ref()
            .map(|url| Origin::Endpoint { url: url.clone(), tls: self.tls.clone() });
        // A kubeconfig wins over an endpoint, as in CoreDNS.
        let given =
            [&self.snapshot, &self.kubeconfig, &endpoint].into_iter().flatten().next().cloned();
        given.unwrap_or_else(Origin::in_cluster)
    }

    pub(super) fn source_settings(&self) -> Settings {
        Settings {
            origin: self.origin(),
            labels: self.labels.clone(),
            namespace_labels: self.namespace_labels.clone(),
            namespaces: self.namespaces.clone(),
            watch_pods: self.pods == PodMode::Verified,
            watch_endpoints: !self.no_endpoints,
            qps: self.qps,
            burst: self.burst,
            max_inflight: self.max_inflight,
            startup_timeout: self.startup_timeout,
        }
    }

    /// The same for options that lead to the same data in the same form. When the log speaks up makes no difference to those.
    pub(super) fn name_of_data(&self) -> String {
        let settings = Settings { startup_timeout: Duration::ZERO, ..self.source_settings() };
        format!("{NAME} {settings:?} ttl {} pod names {}", self.ttl, self.endpoint_pod_names)
    }

    pub(super) fn index_settings(&self) -> IndexSettings {
        let mut watched = vec![Resource::Services, Resource::Namespaces];
        watched.extend((!self.no_endpoints).then_some(Resource::EndpointSlices));
        watched.extend((self.pods == PodMode::Verified).then_some(Resource::Pods));
        IndexSettings {
            ttl: self.ttl,
            namespaces: self.namespaces.clone(),
            endpoint_pod_names: self.endpoint_pod_names,
            watched,
            ..IndexSettings::default()
        }
    }

    pub(super) fn shared(self, index: Arc<Index>, local_addresses: Vec<IpAddr>) -> Shared {
        Shared {
            zones: self.zones.into_iter().map(|zone| ServedZone::new(zone, self.ttl)).collect(),
            primary_zone: self.primary_zone,
            pods: self.pods,
            ignore_empty_service: self.ignore_empty_service,
            has_namespace_list: !self.namespaces.is_empty(),
            local_addresses,
            fallthrough: self.fallthrough,
            index,
        }
    }
}

/// The zone that PTR records point into: the first one outside the reverse trees. CoreDNS takes the trees' own names for forward zones;
/// here they are the last resort, so that a Corefile which starts there starts here.
fn primary_zone(zones: &[Name]) -> Option<Name> {
    let forward = zones.iter().find(|zone| !zone::is_reverse(zone.as_ref()));
    forward.or_else(|| zones.iter().find(|zone| zone.as_ref().label_count() <= 2)).cloned()
}

/// The addresses that may be endpoints of this server's own service. With `bind` CoreDNS knows none.
fn local_addresses(block: &BlockConfig) -> Vec<IpAddr> {
    if block.bind.is_some() {
        return Vec::new();
    }
    let all = interface_addresses().unwrap_or_else(|error| {
        tracing::warn!("plugin/kubernetes: the machine's addresses are unknown, so that zones have no NS records: {error}");
        Vec::new()
    });
    all.into_iter().map(|entry| entry.address).filter(|address| !address.is_loopback()).collect()
}

fn all<'a>(line: &'a Line, what: &str) -> Result<&'a [Word], Diagnostic> {
    line.words().required(what)?;
    Ok(line.words().rest())
}

fn selector(line: &Line) -> Result<String, Diagnostic> {
    let words: Vec<&str> =
        all(line, "a label selector")?.iter().map(|word| word.text.as_str()).collect();
    Ok(words.join(" "))
}

fn rate(word: &Word) -> Result<f32, Diagnostic> {
    let rate = word.text.parse::<f32>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| {
        let error = word.error(format!("'{}' is not a number of requests per second", word.text));
        error.with_help("write a number of 0 or more; 0 is no limit")
    })
}

/// An error of the source at the option that causes it.
fn refused(directive: &Directive, error: &SettingsError) -> Diagnostic {
    let option = match error {
        SettingsError::NotInCluster { .. } => NAME,
        SettingsError::Kubeconfig { .. } => "kubeconfig",
        SettingsError::Endpoint { .. } => "endpoint",
        SettingsError::Selector { option, .. } => option,
        SettingsError::Snapshot { .. } => "snapshot",
    };
    let line = directive.lines().iter().rev().find(|line| line.name.text == option);
    let found = line.map_or(&directive.name, |line| &line.name).error(error.to_string());
    match error {
        SettingsError::Selector { .. } => found,
        // What is wrong stands in files, which may be missing for a moment.
        _ => found.that_may_pass(),
    }
}

fn not_yet(name: &Word) -> Diagnostic {
    let error =
        name.error(format!("CoreDNS has the option '{}', Periplus has it not yet", name.text));
    error.with_help("remove the option; names that need it do not exist then")
}
