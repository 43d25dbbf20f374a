use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus_core::corefile::{Diagnostics, Directive, Words, only_once, unknown_property};
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

use super::handler::Top;
use super::metrics::collect;
use super::settings::Settings;
use super::talkers::Talkers;

/// Entries of one list: default and range. Four lists at their longest and two totals are less than 100 series.
const DEFAULT_COUNT: usize = 10;
const COUNT_RANGE: RangeInclusive<usize> = 0..=24;
/// Length of a window: default and range.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
const WINDOW_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
const PROPERTIES: &[&str] = &["clients", "names", "namespaces", "nxdomain", "window"];

/// Reads `top [COUNT] { window DURATION; clients|names|nxdomain|namespaces COUNT }`. All blocks that have it count into the same lists.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = only_once(setup.directives)?;
    let settings = Settings::parse(directive)?;
    let instance = &mut *setup.instance;
    if let Some(talkers) = instance.common::<Talkers>() {
        if talkers.settings != settings {
            let error = directive.name.error("'top' has other options in another server block");
            return Err(error
                .with_help("write the same options in all of them: they share one set of lists")
                .into());
        }
        return Ok(Some(Arc::new(Top(talkers))));
    }
    let talkers = Arc::new(Talkers::new(settings, &instance.metrics));
    instance.set_common(&talkers);
    let (registry, identities) = (Arc::clone(&instance.metrics), Arc::clone(&instance.identities));
    let shown = Arc::clone(&talkers);
    instance.spawn("top", move |stop| async move {
        let _collector = registry.collector("top", move |collected| {
            collect(&shown, &identities, Instant::now(), collected);
        });
        stop.cancelled().await;
    });
    Ok(Some(Arc::new(Top(talkers))))
}

impl Settings {
    pub(super) fn parse(directive: &Directive) -> Result<Settings, Diagnostics> {
        let mut errors = Diagnostics::new();
        let mut words = directive.words();
        let mut all = DEFAULT_COUNT;
        if words.peek().is_some() {
            all = errors.take(count(&mut words)).unwrap_or(all);
        }
        errors.take(words.end());
        let window = DEFAULT_WINDOW;
        let mut settings =
            Settings { window, clients: all, names: all, nxdomain: all, namespaces: all };
        for line in directive.lines() {
            errors.take(line.no_body());
            let mut words = line.words();
            let list = match line.name.text.as_str() {
                "clients" => &mut settings.clients,
                "names" => &mut settings.names,
                "nxdomain" => &mut settings.nxdomain,
                "namespaces" => &mut settings.namespaces,
                "window" => {
                    let window = errors.take(words.duration("a duration", WINDOW_RANGE));
                    settings.window = window.unwrap_or(settings.window);
                    errors.take(words.end());
                    continue;
                }
                _ => {
                    errors.push(unknown_property(&line.name, PROPERTIES));
                    continue;
                }
            };
            *list = errors.take(count(&mut words)).unwrap_or(*list);
            errors.take(words.end());
        }
        errors.into_result(settings)
    }
}

fn count(words: &mut Words<'_>) -> Result<usize, periplus_core::corefile::Diagnostic> {
    words.integer("a number of entries", COUNT_RANGE)
}
