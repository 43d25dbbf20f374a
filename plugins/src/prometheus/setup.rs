use std::sync::Arc;

use periplus_core::corefile::{Diagnostics, Directive, only_once, unknown_property};
use periplus_core::metrics::Registry;
use periplus_core::plugin::Plugin;
use periplus_core::setup::{BlockConfig, HttpAddress, Instance, ListenAddress, PageContent, Setup};
use periplus_core::zone::Zones;

use super::handler::{Dropped, Prometheus};
use super::process;

const DEFAULT_ADDRESS: &str = "localhost:9153";
const PATH: &str = "/metrics";

/// Directives that configure and add no link to the chain: CoreDNS does not list them in `coredns_plugin_enabled`.
const WITHOUT_HANDLER: &[&str] = &[
    "root",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "timeouts",
    "multisocket",
    "reload",
    "bind",
    "debug",
    "ready",
    "health",
    "pprof",
    "tls",
    "on",
    "sign",
];

/// Reads `prometheus [ADDRESS] { runtime_metrics }`.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let address = parse(only_once(setup.directives)?)?;
    let registry = Arc::clone(&setup.instance.metrics);
    // The first block with this directive registers what belongs to the instance as a whole.
    if setup.instance.pages.iter().all(|page| page.path != PATH) {
        build_info(&registry);
        process::register(&registry);
        setup.instance.dropped.push(Arc::new(Dropped::new(&registry)));
    }
    serve(setup.instance, address, &registry);
    show_enabled_plugins(setup.block, setup.instance);
    let zones = Zones::new(setup.block.zones.iter().cloned());
    Ok(Some(Arc::new(Prometheus::new(&registry, &zones))))
}

fn parse(directive: &Directive) -> Result<HttpAddress, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut words = directive.words();
    let mut address = HttpAddress::parse(DEFAULT_ADDRESS).expect("the default is an address");
    if let Some(word) = words.next() {
        address = errors.take(HttpAddress::read(word)).unwrap_or(address);
    }
    errors.take(words.end());
    for line in directive.lines() {
        match line.name.text.as_str() {
            // What it adds in CoreDNS is about the Go runtime.
            "runtime_metrics" => {
                errors.take(line.no_arguments());
            }
            "tls" => errors.push(
                line.name
                    .error("'tls' is not supported yet: /metrics is served over plain HTTP")
                    .with_help(
                        "remove the option, and let a proxy in front of the address speak TLS",
                    ),
            ),
            _ => errors.push(unknown_property(&line.name, &["runtime_metrics"])),
        }
    }
    errors.into_result(address)
}

/// Blocks that name the same address share its page: there is one registry.
fn serve(instance: &mut Instance, address: HttpAddress, registry: &Arc<Registry>) {
    if instance.pages.iter().any(|page| page.path == PATH && page.address == address) {
        return;
    }
    let registry = Arc::clone(registry);
    instance.serve_if_possible(address, PATH, move || PageContent {
        status: 200,
        content_type: Registry::CONTENT_TYPE,
        body: registry.expose(),
    });
}

pub(super) fn build_info(registry: &Registry) {
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", option_env!("PERIPLUS_REVISION").unwrap_or("")),
        // Dashboards group by it; there is no Go here.
        ("goversion", ""),
    ];
    let help = "A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.";
    registry.gauge("coredns_build_info", help, &labels).set(1.0);
}

/// Counts the configurations in which a plugin is enabled: 1, and 0 once a reload has removed it. While a reload replaces one
/// configuration by the next, both count, so that 2 can be seen for that moment.
fn show_enabled_plugins(block: &BlockConfig, instance: &mut Instance) {
    let Some(key) = block.keys.first() else { return };
    let of_first_key =
        |listener: &ListenAddress| listener.scheme == key.scheme && listener.port == key.port;
    let servers: Vec<String> =
        block.listeners().iter().filter(|l| of_first_key(l)).map(ToString::to_string).collect();
    let zone = block.zones.first().map_or_else(|| ".".to_owned(), ToString::to_string);
    let plugins: Vec<&'static str> =
        block.directives.iter().copied().filter(|name| !WITHOUT_HANDLER.contains(name)).collect();
    let registry = Arc::clone(&instance.metrics);
    instance.spawn("prometheus", move |stop| async move {
        let mut gauges = Vec::new();
        for server in &servers {
            for plugin in &plugins {
                let labels = [("server", server.as_str()), ("zone", &zone), ("view", ""), ("name", plugin)];
                let help = "A metric that indicates whether a plugin is enabled on per server and zone basis.";
                gauges.push(registry.gauge("coredns_plugin_enabled", help, &labels));
            }
        }
        gauges.iter().for_each(|gauge| gauge.add(1.0));
        stop.cancelled().await;
        gauges.iter().for_each(|gauge| gauge.add(-1.0));
    });
}
