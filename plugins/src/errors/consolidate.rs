use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regex::Regex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The patterns of one server block and what they have counted.
pub(super) struct Consolidation {
    patterns: Vec<Pattern>,
    /// A period has begun.
    begun: Notify,
    /// Nobody writes summaries any more.
    stopped: AtomicBool,
}

/// `consolidate DURATION REGEXP [LEVEL] [show_first]`.
pub(super) struct Pattern {
    pub(super) period: Duration,
    pub(super) regex: Regex,
    pub(super) level: Level,
    pub(super) show_first: bool,
    pub(super) counted: Counted,
}

/// What a pattern has seen in the running period.
#[derive(Default)]
pub(super) struct Counted {
    count: AtomicU64,
    /// When the period ends; `None` while nothing was counted. Touched by the first error of a period and by the task.
    deadline: Mutex<Option<Instant>>,
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

/// When an error is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// No pattern matches.
    AsOthers,
    /// At once, at the pattern's level.
    Now(Level),
    /// With the sum at the end of the period.
    Later,
}

impl Level {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Level::Debug => "[DEBUG]",
            Level::Info => "[INFO]",
            Level::Warning => "[WARNING]",
            Level::Error => "[ERROR]",
        }
    }

    /// Whether lines of this level are written: those for debugging only with `debug`, as for all events.
    pub(super) fn is_enabled(self) -> bool {
        self != Level::Debug || tracing::enabled!(tracing::Level::DEBUG)
    }
}

impl Consolidation {
    pub(super) fn new(patterns: Vec<Pattern>) -> Consolidation {
        Consolidation { patterns, begun: Notify::new(), stopped: AtomicBool::new(false) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Counts the error for the first pattern that matches.
    pub(super) fn told(&self, text: &str) -> Told {
        let Some(pattern) = self.patterns.iter().find(|pattern| pattern.regex.is_match(text))
        else {
            return Told::AsOthers;
        };
        if self.stopped.load(Ordering::Acquire) {
            return Told::Now(pattern.level);
        }
        let is_first = pattern.counted.count.fetch_add(1, Ordering::AcqRel) == 0;
        if is_first {
            *pattern.counted.deadline() = Some(Instant::now() + pattern.period);
            self.begun.notify_one();
        }
        if is_first && pattern.show_first { Told::Now(pattern.level) } else { Told::Later }
    }

    /// Waits until a period begins.
    pub(super) async fn begins(&self) {
        self.begun.notified().await;
    }

    /// Ends all periods, and leaves errors to be told at once from now on.
    pub(super) fn stop(&self, summary: impl FnMut(&Pattern, u64)) {
        self.stopped.store(true, Ordering::Release);
        self.end_periods(None, summary);
    }

    /// Ends the periods that are over at `now` (all of them without it) and gives the earliest end of the others.
    pub(super) fn end_periods(
        &self,
        now: Option<Instant>,
        mut summary: impl FnMut(&Pattern, u64),
    ) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for pattern in &self.patterns {
            let mut deadline = pattern.counted.deadline();
            match *deadline {
                Some(end) if now.is_some_and(|now| end > now) => {
                    earliest = Some(earliest.map_or(end, |earliest| earliest.min(end)));
                }
                // An error counted between these two lines begins the next period and waits for the lock to say when it ends.
                Some(_) => {
                    *deadline = None;
                    let count = pattern.counted.count.swap(0, Ordering::AcqRel);
                    drop(deadline);
                    if count > u64::from(pattern.show_first) {
                        summary(pattern, count);
                    }
                }
                None => {}
            }
        }
        earliest
    }
}

impl Counted {
    fn deadline(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
