//! From a parsed Corefile to servers that can answer: plugins set up, zones on listen addresses, nothing opened yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use periplus_core::corefile::{
    Corefile, Diagnostic, Diagnostics, Directive, Failed, Key, Scheme, ServerBlock, Span,
    parse_key, shown, unknown_directive,
};
use periplus_core::lasting::Lasting;
use periplus_core::liveness::Liveness;
use periplus_core::metrics::Registry;
use periplus_core::name::Name;
use periplus_core::output::Output;
use periplus_core::plugin::Plugin;
use periplus_core::server::{Block, Server, ServerParts};
use periplus_core::setup::{BindAddress, BlockConfig, Instance, ListenAddress, PluginKind, Setup};

use crate::source::Source;

/// A configuration ready to be started.
pub struct Configuration {
    /// What answers on each listen address.
    pub servers: BTreeMap<ListenAddress, Arc<Server>>,
    /// The first key that asks for each listen address.
    pub places: BTreeMap<ListenAddress, Span>,
    /// Zones on each listen address as it is written, for the start-up banner.
    pub zones: BTreeMap<ListenAddress, Vec<Name>>,
    /// What runs beside the servers.
    pub instance: Instance,
    /// Whether debug events are wanted.
    pub debug: bool,
}

/// What does not come from the Corefile.
pub struct Surroundings {
    /// All plugins, in order.
    pub plugins: &'static [PluginKind],
    /// Port of plain DNS keys that name none (`-dns.port`).
    pub default_port: u16,
    /// Where relative file names begin.
    pub directory: PathBuf,
    /// Metrics of the process.
    pub metrics: Arc<Registry>,
    /// Standard output.
    pub output: Arc<Output>,
    /// What outlives a reload.
    pub lasting: Arc<Lasting>,
    /// Whether the process lives.
    pub liveness: Arc<Liveness>,
}

impl Surroundings {
    /// Surroundings of a process that has just begun: nothing lasts yet, and it lives.
    pub fn new(
        plugins: &'static [PluginKind],
        default_port: u16,
        directory: PathBuf,
        metrics: Arc<Registry>,
        output: Arc<Output>,
    ) -> Surroundings {
        let (lasting, liveness) = Default::default();
        Surroundings { plugins, default_port, directory, metrics, output, lasting, liveness }
    }
}

/// CoreDNS plugins that Periplus does not have yet; naming one is a clear error.
pub const NOT_YET: &[&str] = &[
    "acl",
    "any",
    "auto",
    "autopath",
    "azure",
    "bufsize",
    "chaos",
    "clouddns",
    "dns64",
    "dnssec",
    "dnstap",
    "erratic",
    "etcd",
    "file",
    "geoip",
    "grpc",
    "grpc_server",
    "header",
    "https",
    "https3",
    "k8s_external",
    "local",
    "metadata",
    "minimal",
    "multisocket",
    "nomad",
    "nsid",
    "on",
    "pprof",
    "proxyproto",
    "quic",
    "route53",
    "secondary",
    "shed",
    "sign",
    "template",
    "timeouts",
    "tls",
    "trace",
    "transfer",
    "tsig",
    "view",
];

/// One server block on its way.
struct Draft<'a> {
    source: &'a ServerBlock,
    config: BlockConfig,
    chain: Vec<Arc<dyn Plugin>>,
}

/// Loads a configuration and sets everything up. All errors come at once: where the text has errors, those of its keys and
/// directive names are added as far as they could be read.
pub fn load(
    source: &Source,
    surroundings: &Surroundings,
) -> Result<(Corefile, Configuration), Failed> {
    let corefile = source.load(surroundings.default_port).map_err(|mut failed| {
        for block in &failed.blocks {
            read_keys(block, surroundings, &mut failed.diagnostics);
        }
        failed
    })?;
    match build(&corefile, surroundings) {
        Ok(configuration) => Ok((corefile, configuration)),
        Err(diagnostics) => {
            let Corefile { blocks, sources, inputs, .. } = corefile;
            Err(Failed { diagnostics, sources, blocks, inputs })
        }
    }
}

/// Sets everything up. All errors come at once.
fn build(corefile: &Corefile, surroundings: &Surroundings) -> Result<Configuration, Diagnostics> {
    let mut errors = Diagnostics::default();
    let mut drafts: Vec<Draft> = corefile
        .blocks
        .iter()
        .map(|block| Draft {
            source: block,
            config: read_keys(block, surroundings, &mut errors),
            chain: Vec::new(),
        })
        .collect();
    let mut instance = Instance::new(
        Arc::clone(&surroundings.metrics),
        Arc::clone(&surroundings.output),
        &surroundings.directory,
    );
    instance.lasting = Arc::clone(&surroundings.lasting);
    instance.liveness = Arc::clone(&surroundings.liveness);
    // CoreDNS's order: for each directive, for each block.
    for kind in surroundings.plugins {
        for draft in &mut drafts {
            let directives: Vec<&Directive> = draft.source.occurrences(kind.name).collect();
            if directives.is_empty() {
                continue;
            }
            let mut setup = Setup {
                directives: &directives,
                block: &mut draft.config,
                instance: &mut instance,
            };
            match (kind.setup)(&mut setup) {
                Ok(Some(plugin)) => draft.chain.push(plugin),
                Ok(None) => {}
                Err(found) => {
                    errors.extend(found.into_iter().map(|error| error.for_plugin(kind.name)))
                }
            }
        }
    }
    let configuration = group(drafts, instance, &mut errors);
    errors.into_result(configuration)
}

fn read_keys(
    block: &ServerBlock,
    surroundings: &Surroundings,
    errors: &mut Diagnostics,
) -> BlockConfig {
    let mut keys: Vec<Key> = Vec::new();
    let mut zones: Vec<Name> = Vec::new();
    for word in &block.keys {
        match parse_key(word, surroundings.default_port) {
            Ok(parsed) => {
                for key in &parsed {
                    if key.scheme != Scheme::Dns {
                        let message = format!(
                            "'{}://' is a transport of CoreDNS that Periplus does not have yet",
                            key.scheme
                        );
                        errors.push(
                            word.error(message)
                                .with_help("plain DNS ('dns://' or no scheme) is there"),
                        );
                        break;
                    }
                }
                for key in parsed {
                    match Name::parse(&key.zone) {
                        Ok(zone) => {
                            keys.push(key);
                            zones.push(zone);
                        }
                        // No name that could be asked lies in it; CoreDNS serves it in vain.
                        Err(error) => errors.push(word.error(format!(
                            "zone is not a valid domain name: {}: {error}",
                            shown(&key.zone)
                        ))),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    let known: Vec<&str> = surroundings.plugins.iter().map(|kind| kind.name).collect();
    for directive in &block.directives {
        if !known.contains(&directive.name.text.as_str()) {
            errors.push(unknown_directive(&directive.name, &known, NOT_YET));
        }
    }
    let directives =
        known.into_iter().filter(|name| block.occurrences(name).next().is_some()).collect();
    BlockConfig {
        keys,
        zones,
        directives,
        root: surroundings.directory.clone(),
        bind: None,
        debug: false,
        any_class: false,
    }
}

/// Puts the zones of all blocks on their listen addresses, and refuses what would hide something (CoreDNS's overlap checks).
fn group(drafts: Vec<Draft>, instance: Instance, errors: &mut Diagnostics) -> Configuration {
    let debug = drafts.iter().any(|draft| draft.config.debug);
    let mut places = BTreeMap::new();
    let mut parts: BTreeMap<ListenAddress, ServerParts> = BTreeMap::new();
    let mut zones: BTreeMap<ListenAddress, Vec<Name>> = BTreeMap::new();
    let mut taken: Vec<(Key, BindAddress)> = Vec::new();
    let panics = instance.metrics.counter(
        "coredns_panics_total",
        "A metrics that counts the number of panics.",
        &[],
    );
    for draft in drafts {
        let block = Arc::new(Block::new(draft.chain));
        let wildcard = [BindAddress::Wildcard];
        let hosts = draft.config.bind.as_deref().unwrap_or(&wildcard);
        for (key, zone) in draft.config.keys.iter().zip(&draft.config.zones) {
            for host in hosts {
                if let Some(error) = overlap(key, *host, &taken) {
                    errors.push(error);
                    continue;
                }
                taken.push((key.clone(), *host));
                let written = ListenAddress { scheme: key.scheme, host: *host, port: key.port };
                zones.entry(written).or_default().push(zone.clone());
                let address = ListenAddress { host: host.listened(), ..written };
                places.entry(address).or_insert(key.span);
                let server = parts.entry(address).or_insert_with(|| ServerParts {
                    label: written.to_string(),
                    zones: Vec::new(),
                    any_class: false,
                    fatal_panics: None,
                    panics: panics.clone(),
                    dropped: instance.dropped.clone(),
                });
                server.any_class |= draft.config.any_class;
                if draft.config.debug {
                    server.fatal_panics = Some(Arc::clone(&instance.output));
                }
                server.zones.push((zone.clone(), Arc::clone(&block)));
            }
        }
    }
    zones.values_mut().for_each(|zones| zones.sort_by_key(ToString::to_string));
    let servers =
        parts.into_iter().map(|(address, parts)| (address, Arc::new(Server::new(parts)))).collect();
    Configuration { servers, places, zones, instance, debug }
}

fn overlap(key: &Key, host: BindAddress, taken: &[(Key, BindAddress)]) -> Option<Diagnostic> {
    let same = |other: &&(Key, BindAddress)| {
        other.0.scheme == key.scheme && other.0.zone == key.zone && other.0.port == key.port
    };
    let (other, other_host) = taken.iter().filter(same).find(|(_, other)| {
        other.listened() == host.listened()
            || *other == BindAddress::Wildcard
            || host == BindAddress::Wildcard
    })?;
    let place = |host: BindAddress| match host {
        BindAddress::Wildcard => String::new(),
        BindAddress::Address(address, _) => format!(" on {address}"),
    };
    let message = if *other_host == host {
        format!("cannot serve {key}{} - it is already defined", place(host))
    } else {
        format!(
            "cannot serve {key}{} - zone overlap listener capacity with {other}{}",
            place(host),
            place(*other_host)
        )
    };
    Some(Diagnostic::error(key.span, message).with_label(other.span, "first defined here"))
}

/// Where relative names begin when a configuration comes from a file: the working directory, as in CoreDNS.
pub fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned())
}
