//! The `cache` directive.

use std::sync::Arc;
use std::time::Duration;

use periplus_core::corefile::{
    self, Diagnostic, Diagnostics, Directive, Line, Word, only_once, unknown_property,
};
use periplus_core::memory::Budget;
use periplus_core::name::NameRef;
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;
use periplus_core::zone::Zones;

use super::handler::Cache;
use super::store::{Bounds, Side};

/// Reads the directive and makes the plugin.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = only_once(setup.directives)?;
    let settings = Settings::read(directive, |zones| setup.block.zones_or_own(zones))?;
    Ok(Some(Arc::new(Cache::new(settings, setup))))
}

/// What the directive says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Names outside of these pass by.
    pub(super) zones: Zones,
    pub(super) success: Limits,
    pub(super) denial: Limits,
    /// How long server errors are kept; zero: not at all.
    pub(super) servfail: Duration,
    pub(super) prefetch: Option<Prefetch>,
    pub(super) stale: Option<Stale>,
    /// What holds without `serve_stale`.
    pub(super) fallback: Option<Fallback>,
    /// `serve_stale_policy prefer_positive`.
    pub(super) prefer_positive: bool,
    /// Zones that one side keeps nothing of: success, denial.
    disabled: [Zones; 2],
    /// Zones in which both sides are disabled.
    never: Zones,
    pub(super) keep_ttl: bool,
}

/// The limits of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// `CAPACITY`, in entries.
    pub(super) capacity: usize,
    /// The longest TTL, in seconds.
    pub(super) max: u32,
    /// The shortest TTL, in seconds; a longest below it wins.
    pub(super) min: u32,
}

impl Limits {
    /// The TTL to use for one that was found.
    pub(super) fn clamp(self, ttl: u32) -> u32 {
        ttl.max(self.min).min(self.max)
    }

    /// CoreDNS's capacity counts entries, so that one name with a large answer weighs as much as one with a small one. Here the same
    /// number also bounds the memory: as many KiB as entries, and no more than an eighth of the memory limit.
    pub(super) fn bounds(self, budget: Budget) -> Bounds {
        let entries = self.capacity.max(LEAST_CAPACITY);
        let bytes = entries.saturating_mul(BYTES_PER_ENTRY);
        let least = LEAST_CAPACITY * BYTES_PER_ENTRY;
        Bounds { entries, bytes: budget.count(PARTS, 1, least, bytes) }
    }
}

/// Refreshing what is asked for often before it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefetch {
    /// This many hits make a name popular.
    pub(super) amount: u32,
    /// A gap longer than this starts the count anew.
    pub(super) window: Duration,
    /// The share of the TTL that is left when the refresh begins, in percent.
    pub(super) percentage: u32,
}

/// Answering from entries whose TTL is over (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stale {
    /// For how long after the end of the TTL.
    pub(super) window: Duration,
    pub(super) mode: StaleMode,
    /// The TTL of stale answers, in seconds.
    pub(super) ttl: u32,
    /// No new attempt for so long after a refresh has failed; zero: no limit.
    pub(super) recheck: Duration,
}

/// Answering from entries whose TTL is over when the source fails, and only then (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fallback {
    /// For how long after the end of the TTL.
    pub(super) window: Duration,
    /// The TTL of such answers, in seconds.
    pub(super) ttl: u32,
    /// A client waits no longer than this for the source.
    pub(super) response_timer: Duration,
    /// After a failed attempt the source is left alone for so long.
    pub(super) recheck: Duration,
}

impl Fallback {
    /// The window is CoreDNS's for `serve_stale`; TTL and response timer are those that RFC 8767 sections 4 and 5 recommend. They recommend
    /// 30 seconds before the next attempt too, for the sake of servers that all the world asks. Here it is the cluster's own
    /// upstream, which one question every three seconds does not trouble, and of whose return a client shall see something
    /// within five.
    const DEFAULT: Fallback = Fallback {
        window: Duration::from_secs(3600),
        ttl: 30,
        response_timer: Duration::from_millis(1800),
        recheck: Duration::from_secs(3),
    };
}

/// What comes first: the stale answer or the attempt to get a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaleMode {
    /// Answer, then refresh in the background.
    Immediate,
    /// Ask inward first, at most for so long; zero: as long as that takes.
    Verify(Duration),
}

/// The longest TTL of positive answers in seconds (CoreDNS's `dnsutil.MaximumDefaultTTL`); half of it for negative ones.
const MAX_TTL: u32 = 3600;
/// The shortest TTL in seconds.
const MIN_TTL: u32 = 5;
/// Entries per side.
const CAPACITY: usize = 10_000;
/// More entries than this fit no memory.
const MOST_CAPACITY: usize = i32::MAX as usize;
/// CoreDNS has 256 shards of at least 4 entries.
const LEAST_CAPACITY: usize = 1024;
/// An entry of one address takes about 500 bytes here, one of a signed answer two to four thousand.
const BYTES_PER_ENTRY: usize = 1024;
/// A side may have one of so many parts of the process's memory limit.
const PARTS: u64 = 8;
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
    /// What `cache` alone means.
    pub(super) fn new(zones: Zones) -> Settings {
        let limits = |max| Limits { capacity: CAPACITY, max, min: MIN_TTL };
        Settings {
            zones,
            success: limits(MAX_TTL),
            denial: limits(MAX_TTL / 2),
            servfail: Duration::from_secs(u64::from(MIN_TTL)),
            prefetch: None,
            stale: None,
            fallback: Some(Fallback::DEFAULT),
            prefer_positive: false,
            disabled: Default::default(),
            never: Zones::default(),
            keep_ttl: false,
        }
    }

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
        settings.never = intersection(&settings.disabled[0], &settings.disabled[1]);
        errors.into_result(settings)
    }

    /// Whether one side keeps nothing for a name.
    pub(super) fn disabled(&self, side: Side, name: NameRef<'_>) -> bool {
        self.disabled[side as usize].contains(name)
    }

    /// Whether nothing at all is kept for a name.
    pub(super) fn never_keeps(&self, name: NameRef<'_>) -> bool {
        self.never.contains(name)
    }

    /// What a side may hold.
    pub(super) fn bounds(&self, side: Side, budget: Budget) -> Bounds {
        self.limits(side).bounds(budget)
    }

    /// For how long entries stay usable after the end of their TTL.
    pub(super) fn stale_window(&self) -> Option<Duration> {
        self.stale.map(|stale| stale.window)
    }

    fn limits(&self, side: Side) -> Limits {
        match side {
            Side::Success => self.success,
            Side::Denial => self.denial,
        }
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
                self.disabled[side as usize] = zones;
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

/// The zones that lie in both lists: of each pair of which one contains the other, the longer.
fn intersection(one: &Zones, other: &Zones) -> Zones {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    Zones::new(pairs.filter_map(|(a, b)| {
        let longer = if a.as_ref().is_at_or_below(b.as_ref()) { a } else { b };
        let shorter = if longer == a { b } else { a };
        longer.as_ref().is_at_or_below(shorter.as_ref()).then(|| longer.clone())
    }))
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
