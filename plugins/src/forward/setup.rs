//! From the words of the `forward` directives to stanzas.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use periplus_core::codes::Rcode;
use periplus_core::corefile::{
    Diagnostic, Diagnostics, Directive, Line, Word, did_you_mean, format_go_duration,
    normalize_zone, shown, unknown_property,
};
use periplus_core::name::Name;
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;
use periplus_core::zone::Zones;
use tokio_util::sync::CancellationToken;

use super::destination::{self, Destination};
use super::handler::Forward;
use super::metrics::ForwardMetrics;
use super::policy::Policy;
use super::resolve::{resolve, upstreams};
use super::settings::{
    Failover, HEDGE_AFTER_SEQUENTIAL, MOST_DESTINATIONS, Protocol, SWEEP, Settings,
};
use super::stanza::Stanza;

/// The options of a stanza.
const OPTIONS: [&str; 20] = [
    "except",
    "force_tcp",
    "prefer_udp",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "max_fails",
    "health_check",
    "max_connect_attempts",
    "policy",
    "max_concurrent",
    "next",
    "next_on_nodata",
    "failover",
    "failfast_all_unhealthy_upstreams",
    "resolver",
    "source_address",
    "hedge_after",
    "randomize_case",
];
/// Options of CoreDNS's `forward` that this one does not have yet.
const NOT_YET: [&str; 3] = ["tls", "tls_servername", "doh_method"];

/// Reads the stanzas of a server block.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut read = Vec::new();
    for directive in setup.directives {
        read.extend(errors.take(read_stanza(directive, &setup.instance.directory)));
    }
    let read = errors.into_result(read)?;

    // Questions of other classes are forwarded too, as CoreDNS does where a block has this plugin.
    setup.block.any_class = true;
    let registry = &setup.instance.metrics;
    let metrics = Arc::new(ForwardMetrics::new(registry));
    let mut unresolved = Vec::new();
    let mut stanzas = Vec::new();
    for (settings, destinations) in read {
        let settings = Arc::new(settings);
        let upstreams = upstreams(&destinations, &[], &settings, registry);
        let stanza = Arc::new(Stanza::new(settings, upstreams, Arc::clone(&metrics)));
        if destinations.iter().any(|destination| matches!(destination, Destination::Host(_))) {
            unresolved.push((Arc::clone(&stanza), destinations));
        }
        stanzas.push(stanza);
    }
    let stanzas: Arc<[Arc<Stanza>]> = stanzas.into();
    let (tended, registry) = (Arc::clone(&stanzas), Arc::clone(registry));
    setup.instance.spawn("forward", move |stop| async move {
        let resolving = unresolved
            .into_iter()
            .map(|(stanza, destinations)| resolve(stanza, destinations, Arc::clone(&registry)));
        let resolving = futures::future::join_all(resolving);
        tend(&tended, resolving, &stop).await;
    });
    Ok(Some(Arc::new(Forward(stanzas))))
}

/// What runs beside the queries for as long as the configuration does.
async fn tend(stanzas: &[Arc<Stanza>], resolving: impl Future, stop: &CancellationToken) {
    let sweeping = async {
        loop {
            tokio::time::sleep(SWEEP).await;
            stanzas.iter().for_each(|stanza| stanza.sweep());
        }
    };
    stop.run_until_cancelled(async { tokio::join!(resolving, sweeping) }).await;
    stanzas.iter().for_each(|stanza| stanza.stop.cancel());
}

fn read_stanza(
    directive: &Directive,
    directory: &Path,
) -> Result<(Settings, Vec<Destination>), Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut words = directive.words();
    let from = words.required("the zone to forward").and_then(read_from)?;
    let to = words.required_rest("an address, a host name or a file to forward to")?;

    let mut settings = Settings::new(from);
    let mut flags = Flags::default();
    for line in directive.lines() {
        errors.take(line.no_body());
        errors.take(read_option(line, &mut settings, &mut flags));
    }
    settings.protocol = match flags {
        Flags { force_tcp: true, .. } => Protocol::Tcp,
        Flags { prefer_udp: true, .. } => Protocol::UdpFirst,
        _ => Protocol::AsAsked,
    };
    if !flags.hedge_after && matches!(settings.policy, Policy::Sequential) {
        settings.hedge_after = Some(HEDGE_AFTER_SEQUENTIAL);
    }
    if let (Some(max_age), Some(line)) = (settings.max_age, flags.max_age)
        && max_age < settings.expire
    {
        let (age, expire) = (format_go_duration(max_age), format_go_duration(settings.expire));
        errors.push(line.error(format!("max_age ({age}) must not be less than expire ({expire})")));
    }

    let read: Vec<Destination> =
        to.iter().filter_map(|word| errors.take(destination::read(word, directory))).collect();
    let is_empty = |destination: &&Destination| matches!(destination, Destination::Addresses(a) if a.is_empty());
    let count = read.iter().filter(|destination| !is_empty(destination)).count();
    if count > MOST_DESTINATIONS {
        errors.push(
            to[MOST_DESTINATIONS]
                .error(format!("more than {MOST_DESTINATIONS} TOs configured: {count}")),
        );
    } else if count == 0 && !errors.has_errors() {
        errors.push(
            to[0]
                .error("no valid upstream addresses found")
                .with_help("the file names no nameserver"),
        );
    }
    errors.into_result((settings, read))
}

fn read_from(word: &Word) -> Result<Name, Diagnostic> {
    let unable = || word.error(format!("unable to normalize '{}'", shown(&word.text)));
    let zones =
        normalize_zone(&word.text).map_err(|error| unable().with_note(error.to_string()))?;
    let first = zones.first().ok_or_else(unable)?;
    if zones.len() > 1 {
        tracing::warn!(
            "plugin/forward: Unsupported CIDR notation: '{}' expands to multiple zones. Using only '{first}'.",
            word.text
        );
    }
    Name::parse(first).map_err(|_| unable())
}

/// What has to be seen together with other options.
#[derive(Default)]
struct Flags<'a> {
    force_tcp: bool,
    prefer_udp: bool,
    max_age: Option<&'a Word>,
    hedge_after: bool,
}

fn read_option<'a>(
    line: &'a Line,
    settings: &mut Settings,
    flags: &mut Flags<'a>,
) -> Result<(), Diagnostic> {
    let mut words = line.words();
    match line.name.text.as_str() {
        "except" => {
            let names = words.required_rest("a name")?.iter().flat_map(read_except);
            settings.except = Zones::new(settings.except.iter().cloned().chain(names));
        }
        "force_tcp" => flags.force_tcp = true,
        "prefer_udp" => flags.prefer_udp = true,
        "expire" => settings.expire = words.duration("a duration", ..)?,
        "max_age" => {
            flags.max_age = words.peek();
            settings.max_age = Some(words.duration("a duration", ..)?).filter(|age| !age.is_zero());
        }
        "max_idle_conns" => {
            let most = words.integer("a number of connections", 0..=i64::MAX)?;
            settings.max_idle = usize::try_from(most).ok().filter(|most| *most > 0);
        }
        "read_timeout" => {
            let word = words.required("a duration")?;
            settings.read_timeout = word.duration()?;
            if settings.read_timeout.is_zero() {
                return Err(word.error("read_timeout must be positive: 0s"));
            }
        }
        "max_fails" => {
            settings.max_fails = words.integer("a number of failed probes", 0..=u32::MAX)?
        }
        "health_check" => read_health_check(line, settings)?,
        "max_connect_attempts" => {
            settings.max_attempts = Some(words.integer("a number of attempts", 0..=u32::MAX)?);
        }
        "policy" => settings.policy = read_policy(words.required("a policy")?)?,
        "max_concurrent" => {
            let most = words.integer("a number of queries", 0..=i64::MAX)?;
            settings.max_concurrent = usize::try_from(most).unwrap_or(usize::MAX);
        }
        "next" => {
            for word in words.required_rest("a response code")? {
                settings.next.push(read_rcode(word)?);
            }
        }
        "next_on_nodata" => settings.next_on_nodata = true,
        "failover" => {
            for word in words.required_rest("a response code")? {
                let rcode = read_rcode(word)?;
                if rcode == Rcode::NOERROR {
                    return Err(word.error("NoError cannot be used in failover"));
                }
                match &mut settings.failover {
                    Failover::Listed(codes) => codes.push(rcode),
                    default => *default = Failover::Listed(vec![rcode]),
                }
            }
        }
        "failfast_all_unhealthy_upstreams" => settings.failfast = true,
        "resolver" => {
            let servers = words.required_rest("the address of a resolver")?;
            settings.resolver =
                servers.iter().map(destination::read_address).collect::<Result<_, _>>()?;
        }
        "source_address" => {
            let word = words.required("an IP address")?;
            let address = word.text.parse();
            settings.source =
                Some(address.map_err(|_| {
                    word.error(format!("invalid IP address: {}", shown(&word.text)))
                })?);
        }
        "hedge_after" => {
            flags.hedge_after = true;
            settings.hedge_after =
                Some(words.duration("a duration", ..)?).filter(|after| !after.is_zero());
        }
        "randomize_case" => settings.randomize_case = true,
        name if NOT_YET.contains(&name) => {
            return Err(line.name.error(format!(
                "'{name}' is an option of CoreDNS's forward that Periplus does not have yet"
            )));
        }
        _ => return Err(unknown_property(&line.name, &OPTIONS)),
    }
    // `health_check` reads its own words.
    if line.name.text == "health_check" { Ok(()) } else { words.end() }
}

/// The zones of an `except` word. CoreDNS skips in silence what is no name.
fn read_except(word: &Word) -> Vec<Name> {
    let zones = normalize_zone(&word.text).unwrap_or_else(|error| {
        tracing::warn!("plugin/forward: except: '{}' is ignored: {error}", shown(&word.text));
        Vec::new()
    });
    zones.iter().filter_map(|zone| Name::parse(zone).ok()).collect()
}

fn read_health_check(line: &Line, settings: &mut Settings) -> Result<(), Diagnostic> {
    let mut words = line.words();
    settings.probe.interval = words.duration("a duration", ..)?;
    settings.probe.domain = Name::root();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "no_rec" => settings.probe.recursion = false,
            "domain" => {
                let domain = words.required("a domain name")?;
                settings.probe.domain = Name::parse(&domain.text)
                    .map_err(|error| {
                        let text = shown(&domain.text);
                        domain
                            .error(format!("health_check: invalid domain name {text}"))
                            .with_note(error.to_string())
                    })?
                    .to_lower();
            }
            other => {
                let near = did_you_mean(other, ["no_rec", "domain"]);
                return Err(word
                    .error(format!("health_check: unknown option {}", shown(other)))
                    .with_optional_help(near.map(|near| format!("did you mean '{near}'?")))
                    .with_note("allowed here: no_rec, domain FQDN"));
            }
        }
    }
    Ok(())
}

fn read_policy(word: &Word) -> Result<Policy, Diagnostic> {
    const POLICIES: [&str; 3] = ["random", "round_robin", "sequential"];
    match word.text.as_str() {
        "random" => Ok(Policy::Random),
        "round_robin" => Ok(Policy::RoundRobin(AtomicU32::new(0))),
        "sequential" => Ok(Policy::Sequential),
        other => {
            let near = did_you_mean(other, POLICIES);
            Err(word
                .error(format!("unknown policy '{}'", shown(other)))
                .with_optional_help(near.map(|near| format!("did you mean '{near}'?")))
                .with_note(format!("allowed here: {}", POLICIES.join(", "))))
        }
    }
}

/// A response code by its mnemonic, in any case. NOTIMPL and BADSIG are the Go library's other words for NOTIMP and BADVERS.
fn read_rcode(word: &Word) -> Result<Rcode, Diagnostic> {
    let text = word.text.as_str();
    let known = match text.to_ascii_uppercase().as_str() {
        "NOTIMPL" => Some(Rcode::NOTIMP),
        "BADSIG" => Some(Rcode::BADVERS),
        _ => Rcode::from_mnemonic(text),
    };
    known.ok_or_else(|| {
        word.error(format!("{} is not a valid rcode", shown(text))).with_note(
            "allowed here: response codes by name, such as SERVFAIL, REFUSED or NXDOMAIN",
        )
    })
}
