use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use periplus_core::corefile::{
    Diagnostic, Diagnostics, Directive, Line, Word, fallthrough, only_once, shown,
    unknown_property, zones,
};
use periplus_core::plugin::Plugin;
use periplus_core::setup::{BlockConfig, Setup};
use periplus_core::zone::Fallthrough;

use super::entries::{Entries, Rules};
use super::file::{HostsFile, Metrics};
use super::handler::Hosts;

const DEFAULT_FILE: &str = "/etc/hosts";
/// Seconds.
const DEFAULT_TTL: u32 = 3600;
const DEFAULT_RELOAD: Duration = Duration::from_secs(5);
const OPTIONS: &[&str] = &["ttl", "no_reverse", "reload", "fallthrough", "fallthrough_unsupported"];

/// Reads `hosts [FILE [ZONES...]] { ... }` and the file.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = only_once(setup.directives)?;
    let mut errors = Diagnostics::new();
    let path = errors.take(file(directive, setup.block));
    let options = errors.take(Options::read(directive));
    let (Some(path), Some(options)) = (path, options) else { return Err(errors) };

    let zone_words = directive.arguments.get(1..).unwrap_or_default();
    let zones = setup.block.zones_or_own(zones(zone_words));
    let rules = Rules { zones: zones.clone(), reverse: options.reverse };
    let mut inline = Entries::default();
    for line in &options.inline {
        let words =
            std::iter::once(&line.name).chain(&line.arguments).map(|word| word.text.as_str());
        if let Err(bad) = inline.add_line(words, &rules) {
            // CoreDNS takes no notice, and a misspelled option looks the same.
            let (number, text) = (line.name.span.line, shown(&line.name.text));
            tracing::warn!(
                "plugin/hosts: line {number}, which begins with '{text}', {}",
                bad.reason()
            );
        }
    }
    // The file as it was written, unless `root` says where to look for it.
    let label = match directive.arguments.first() {
        Some(word) if setup.block.root == setup.instance.directory => word.text.clone(),
        _ => path.display().to_string(),
    };
    let table = Arc::new(ArcSwap::default());
    let mut file = HostsFile {
        path,
        rules,
        ttl: options.ttl,
        inline,
        table: Arc::clone(&table),
        metrics: Metrics::new(&setup.instance.metrics, &label),
        loaded: None,
        failing: false,
    };
    file.load_first();
    if !options.reload.is_zero() {
        setup.instance.spawn("hosts", move |stop| file.watch(options.reload, stop));
    }
    Ok(Some(Arc::new(Hosts {
        zones,
        fallthrough: options.fallthrough,
        pass_other_types: options.pass_other_types,
        table,
    })))
}

/// The file, which may be missing: it may come later.
fn file(directive: &Directive, block: &BlockConfig) -> Result<PathBuf, Diagnostic> {
    let Some(word) = directive.arguments.first() else { return Ok(DEFAULT_FILE.into()) };
    let path = block.path(&word.text);
    match std::fs::metadata(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(word.error(format!("unable to access hosts file '{}': {error}", path.display())))
        }
        _ => Ok(path),
    }
}

/// What the block says.
struct Options<'a> {
    ttl: u32,
    reverse: bool,
    reload: Duration,
    fallthrough: Fallthrough,
    pass_other_types: bool,
    inline: Vec<&'a Line>,
}

impl<'a> Options<'a> {
    fn read(directive: &'a Directive) -> Result<Options<'a>, Diagnostics> {
        let mut errors = Diagnostics::new();
        let mut options = Options {
            ttl: DEFAULT_TTL,
            reverse: true,
            reload: DEFAULT_RELOAD,
            fallthrough: Fallthrough::Never,
            pass_other_types: false,
            inline: Vec::new(),
        };
        let mut unsupported: Option<&Word> = None;
        for line in directive.lines() {
            errors.take(line.no_body());
            let mut words = line.words();
            match line.name.text.as_str() {
                "fallthrough" => options.fallthrough = fallthrough(line),
                "fallthrough_unsupported" => {
                    errors.take(line.no_arguments());
                    unsupported = Some(&line.name);
                    options.pass_other_types = true;
                }
                "no_reverse" => {
                    errors.take(line.no_arguments());
                    options.reverse = false;
                }
                "ttl" => {
                    let ttl = words.integer("a number of seconds", 1..=65_535);
                    options.ttl = errors.take(ttl).unwrap_or(DEFAULT_TTL);
                    errors.take(words.end());
                }
                "reload" => {
                    options.reload =
                        errors.take(words.duration("a duration", ..)).unwrap_or(DEFAULT_RELOAD);
                    errors.take(words.end());
                }
                // As in CoreDNS, entries end where `fallthrough` stands.
                _ if options.fallthrough == Fallthrough::Never => options.inline.push(line),
                _ => errors.push(after_fallthrough(line)),
            }
        }
        if let Some(word) = unsupported.filter(|_| options.fallthrough == Fallthrough::Never) {
            let error = word.error("fallthrough_unsupported requires fallthrough");
            errors.push(error.with_help("add a line 'fallthrough'"));
        }
        errors.into_result(options)
    }
}

fn after_fallthrough(line: &Line) -> Diagnostic {
    let error = unknown_property(&line.name, OPTIONS);
    match line.name.text.parse::<std::net::IpAddr>() {
        Ok(_) => error.with_help("entries must stand before 'fallthrough'"),
        Err(_) => error,
    }
}
