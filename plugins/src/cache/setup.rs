//! The `cache` directive.

use std::sync::Arc;
use std::time::Duration;

use periplus_core::corefile::{
    self, Diagnostic, Diagnostics, Directive, Line, Word, only_once, unknown_property,
};
use periplus_core::name::NameRef;
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;
use periplus_core::zone::Zones;

use super::handler::Cache;
use super::settings::{Limits, Prefetch, Settings, Stale, StaleMode};
use super::side::Side;

/// Reads the directive and makes the plugin.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = only_once(setup.directives)?;
    let settings = Settings::read(directive, |zones| setup.block.zones_or_own(zones))?;
    Ok(Some(Arc::new(Cache::new(settings, setup))))
}

/// More entries than this fit no memory.
const MOST_CAPACITY: usize = i32::MAX as usize;
/// RFC 2308 section 7.1: a server failure must not be cached longer than five minutes; RFC 8767 section 5 says the same of the recheck.
const FIVE_MINUTES: Duration = Duration::from_secs(300);
/// RFC 2181 section 8: a TTL has 31 bits.
const LONGEST_TTL: u32 = i32::MAX as u32;

const OPTIONS: [&str; 8] = [
    "success",
    "denial",
    "prefetch",
    "serve_stale",
    "serve_stale_policy",
    "servfail",
    "disable",
    "keepttl",
];

impl Settings {
    /// Reads a directive; all its errors are reported.
    pub(super) fn read(
        directive: &Directive,
        zones_or_own: impl FnOnce(Vec<periplus_core::name::Name>) -> Zones,
    ) -> Result<Settings, Diagnostics> {
        let mut errors = Diagnostics::new();
        let mut arguments = directive.arguments.as_slice();
        let mut settings = Settings::new(Zones::default());
        if let Some((first, rest)) = arguments.split_first()
            && first.text.parse::<i128>().is_ok()
        {
            arguments = rest;
            if let Some(ttl) = errors.take(max_ttl(first)) {
                (settings.success.max, settings.denial.max) = (ttl, ttl);
            }
        }
        settings.zones = zones_or_own(corefile::zones(arguments));
        let mut policy = None;
        for line in directive.lines() {
            errors.take(match line.name.text.as_str() {
                "serve_stale_policy" => settings.read_policy(line, policy.replace(line).is_some()),
                _ => settings.read_option(line),
            });
        }
        if let Some(policy) = policy
            && settings.stale.is_none()
            && !directive
                .lines()
                .iter()
                .any(|line| line.name.text == "serve_stale" && !is_off(line))
        {
            errors.push(
                policy
                    .name
                    .error("serve_stale_policy requires serve_stale")
                    .with_help("add a line 'serve_stale'"),
            );
        }
        errors.into_result(settings)
    }

    fn read_option(&mut self, line: &Line) -> Result<(), Diagnostic> {
        match line.name.text.as_str() {
            "success" => self.success = read_limits(line, self.success)?,
            "denial" => self.denial = read_limits(line, self.denial)?,
            "prefetch" => self.prefetch = read_prefetch(line)?,
            "serve_stale" => {
                self.fallback = None;
                self.stale = if is_off(line) { None } else { Some(read_stale(line)?) };
            }
            "servfail" => {
                let mut words = line.words();
                let word = words.required("a duration")?;
                words.end()?;
                self.servfail = word.duration()?;
                if self.servfail > FIVE_MINUTES {
                    return Err(word
                        .error("caching SERVFAIL responses over 5 minutes is not permitted")
                        .with_note("allowed here: 0s to 5m (RFC 2308 section 7.1)"));
                }
            }
            "disable" => {
                let (side, zones) = read_disable(line)?;
                self.disable(side, zones);
            }
            "keepttl" => {
                line.no_arguments()?;
                self.keep_ttl = true;
            }
            _ => return Err(unknown_property(&line.name, &OPTIONS)),
        }
        line.no_body()
    }

    fn read_policy(&mut self, line: &Line, again: bool) -> Result<(), Diagnostic> {
        if again {
            return Err(line.name.error("serve_stale_policy can only be specified once"));
        }
        let mut words = line.words();
        let policy = words.required("a policy: prefer_positive")?;
        words.end()?;
        if !policy.text.eq_ignore_ascii_case("prefer_positive") {
            let message = format!("invalid serve_stale_policy: {}", policy.text);
            return Err(policy.error(message).with_note("allowed here: prefer_positive"));
        }
        self.prefer_positive = true;
        line.no_body()
    }
}

/// `CAPACITY [TTL [MINTTL]]`; CoreDNS ignores what follows, and so does this.
fn read_limits(line: &Line, mut limits: Limits) -> Result<Limits, Diagnostic> {
    let mut words = line.words();
    let capacity = words.required("a capacity in entries")?;
    limits.capacity = capacity.parse_integer("a capacity", 0..=MOST_CAPACITY)?;
    if let Some(ttl) = words.next() {
        limits.max = max_ttl(ttl)?;
    }
    if let Some(ttl) = words.next() {
        limits.min = match ttl.text.parse::<i128>() {
            Ok(number) if number < 0 => {
                let message = format!("cache min TTL can not be negative: {number}");
                return Err(ttl.error(message).with_help("write seconds from 0 on"));
            }
            _ => ttl.parse_integer("a TTL in seconds", 0..=LONGEST_TTL)?,
        };
    }
    Ok(limits)
}

fn max_ttl(word: &Word) -> Result<u32, Diagnostic> {
    match word.text.parse::<i128>() {
        Ok(number) if number <= 0 => {
            let message = format!("cache TTL can not be zero or negative: {number}");
            Err(word.error(message).with_help("write seconds from 1 on"))
        }
        _ => word.parse_integer("a TTL in seconds", 1..=LONGEST_TTL),
    }
}

/// `AMOUNT [DURATION [PERCENTAGE%]]`; an amount of 0 is off.
fn read_prefetch(line: &Line) -> Result<Option<Prefetch>, Diagnostic> {
    let mut words = line.words();
    let word = words.required("a number of queries")?;
    if word.text.parse::<i128>().is_ok_and(|amount| amount < 0) {
        let message = format!("prefetch amount should be positive: {}", word.text);
        return Err(word.error(message).with_help("0 turns prefetching off"));
    }
    let amount = word.parse_integer("a number of queries", 0..=u32::MAX)?;
    let mut prefetch = Prefetch { amount, window: Duration::from_secs(60), percentage: 10 };
    if let Some(word) = words.next() {
        prefetch.window = word.duration()?;
    }
    if let Some(word) = words.next() {
        prefetch.percentage = percentage(word)?;
    }
    words.end()?;
    Ok((amount > 0).then_some(prefetch))
}

fn percentage(word: &Word) -> Result<u32, Diagnostic> {
    const HELP: &str = "write 10% to 90%";
    let Some(number) = word.text.strip_suffix('%') else {
        let last = word.text.chars().last().unwrap_or('"');
        let message = format!("last character of percentage should be `%`, but is: '{last}'");
        return Err(word.error(message).with_help(HELP));
    };
    match number.parse::<u32>() {
        Ok(number) if (10..=90).contains(&number) => Ok(number),
        _ => {
            let message = format!("percentage should fall in range [10, 90]: {number}");
            Err(word.error(message).with_help(HELP))
        }
    }
}

/// `serve_stale off`.
fn is_off(line: &Line) -> bool {
    matches!(line.arguments.as_slice(), [word] if word.text == "off")
}

/// `[DURATION [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]]`.
fn read_stale(line: &Line) -> Result<Stale, Diagnostic> {
    let mut words = line.words();
    let mut stale = Stale {
        window: Duration::from_secs(3600),
        mode: StaleMode::Immediate,
        ttl: 0,
        recheck: Duration::ZERO,
    };
    if let Some(word) = words.next() {
        stale.window = word.duration()?;
    }
    if let Some(word) = words.next() {
        stale.mode = match word.text.to_ascii_lowercase().as_str() {
            "immediate" => StaleMode::Immediate,
            "verify" => StaleMode::Verify(words.next().map_or(Ok(Duration::ZERO), Word::duration)?),
            mode => {
                let message = format!("invalid value for serve_stale refresh mode: {mode}");
                return Err(word.error(message).with_note("allowed here: immediate, verify"));
            }
        };
    }
    if let Some(word) = words.next() {
        stale.ttl = stale_ttl(word)?;
    }
    if let Some(word) = words.next() {
        stale.recheck = word.duration()?;
        if stale.recheck > FIVE_MINUTES {
            return Err(word
                .error("serve_stale failure recheck cannot exceed 5 minutes")
                .with_note("allowed here: 0s to 5m (RFC 8767 section 5)"));
        }
    }
    words.end()?;
    Ok(stale)
}

fn stale_ttl(word: &Word) -> Result<u32, Diagnostic> {
    let ttl = word.duration()?;
    if ttl.subsec_nanos() != 0 {
        return Err(word.error("serve_stale response TTL must be a whole number of seconds"));
    }
    u32::try_from(ttl.as_secs()).map_err(|_| {
        word.error("serve_stale response TTL exceeds the DNS TTL range")
            .with_note(format!("allowed here: 0s to {}s", u32::MAX))
    })
}

/// `success|denial [ZONES...]`; without zones: everything.
fn read_disable(line: &Line) -> Result<(Side, Zones), Diagnostic> {
    let mut words = line.words();
    let word = words.required("what to disable: success or denial")?;
    let Some(side) = Side::BOTH.into_iter().find(|side| side.label() == word.text) else {
        return Err(word
            .error("cache type for disable must be \"success\" or \"denial\"")
            .with_help(format!("'{}' is neither", word.text)));
    };
    let words = words.rest();
    if let Some(bad) =
        words.iter().find(|word| corefile::zones(std::slice::from_ref(*word)).is_empty())
    {
        return Err(bad.error(format!("invalid disabled zone: {}", bad.text)));
    }
    let zones = corefile::zones(words);
    let zones = if zones.is_empty() { vec![NameRef::ROOT.to_name()] } else { zones };
    Ok((side, Zones::new(zones)))
}
