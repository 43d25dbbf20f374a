//! How a source is doing, for `ready`, for metrics and for whoever waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::kubernetes::objects::Resource;

/// How a source is doing.
pub struct SourceState {
    origin: String,
    resources: Vec<ResourceState>,
    /// What is wrong with files of a snapshot.
    problems: Mutex<Vec<String>>,
    /// It is in the metrics.
    pub(super) is_shown: AtomicBool,
}

impl SourceState {
    pub(super) fn new(
        origin: String,
        resources: &[Resource],
        stale_after: Duration,
    ) -> SourceState {
        let resource = |&resource| ResourceState::new(resource, stale_after);
        SourceState {
            origin,
            resources: resources.iter().map(resource).collect(),
            problems: Mutex::default(),
            is_shown: AtomicBool::new(false),
        }
    }

    /// Where the objects come from, in words: the metric label `origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether each kind of object was read completely once. Stays true from then on.
    pub fn synced(&self) -> bool {
        self.resources.iter().all(ResourceState::synced)
    }

    /// The kinds of objects that are read.
    pub fn resources(&self) -> &[ResourceState] {
        &self.resources
    }

    /// One kind of object, if it is read.
    pub fn of(&self, resource: Resource) -> Option<&ResourceState> {
        self.resources.iter().find(|state| state.resource == resource)
    }

    /// What is not as it should be, one line each: `services: 403 Forbidden: ... (since 12s)`.
    pub fn remarks(&self) -> Vec<String> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = self.resources.iter().filter_map(ResourceState::remark);
        problems.iter().map(|problem| format!("snapshot {problem}")).chain(resources).collect()
    }

    pub(super) fn set_problems(&self, problems: &[String]) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems.to_vec();
    }
}

/// How the source is doing with one kind of object.
pub struct ResourceState {
    resource: Resource,
    started: Instant,
    synced: AtomicBool,
    /// Milliseconds from the start to the last sign that the data is current, plus one; 0: there was none.
    current: AtomicU64,
    /// Without a sign for this long, the data may be old.
    stale_after: Duration,
    outage: Mutex<Option<Outage>>,
}

/// What fails at the moment.
struct Outage {
    text: String,
    since: Instant,
    /// What the log was told of it, and when last.
    said: Vec<String>,
    last_said: Instant,
}

/// Causes that come in turns fill no log.
const SAID_MOST: usize = 8;
/// An outage that goes on is said again after this time.
const REMINDER: Duration = Duration::from_secs(600);

impl ResourceState {
    fn new(resource: Resource, stale_after: Duration) -> ResourceState {
        ResourceState {
            resource,
            started: Instant::now(),
            synced: AtomicBool::new(false),
            current: AtomicU64::new(0),
            stale_after,
            outage: Mutex::new(None),
        }
    }

    /// Which kind of object.
    pub fn resource(&self) -> Resource {
        self.resource
    }

    /// Whether it was read completely once.
    pub fn synced(&self) -> bool {
        self.synced.load(Relaxed)
    }

    /// Time since the last list, event or bookmark; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let sign = self.current.load(Relaxed).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(sign)))
    }

    /// What fails at the moment, and for how long it has.
    pub fn failure(&self) -> Option<(String, Duration)> {
        self.lock().as_ref().map(|outage| (outage.text.clone(), outage.since.elapsed()))
    }

    fn remark(&self) -> Option<String> {
        let name = self.resource.name();
        let missing = if self.synced() { "" } else { "not synced: " };
        match (self.failure(), self.age()) {
            (Some((text, time)), age) => {
                let age = age.filter(|_| self.synced());
                let age =
                    age.map_or_else(String::new, |age| format!(", data of {}s ago", age.as_secs()));
                Some(format!("{name}: {missing}{text} (since {}s{age})", time.as_secs()))
            }
            (None, Some(age)) if age > self.stale_after => {
                Some(format!("{name}: {missing}no event or bookmark for {}s", age.as_secs()))
            }
            _ if !self.synced() => Some(format!("{name}: not synced yet")),
            _ => None,
        }
    }

    pub(super) fn set_synced(&self) {
        self.synced.store(true, Relaxed);
    }

    /// The data is current: a list ended, an event or a bookmark came.
    pub(super) fn is_current(&self) {
        let time = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.current.store(time + 1, Relaxed);
    }

    /// Notes a failure. Returns whether it is worth a line in the log: it is another one than before, or the last line is long ago.
    pub(super) fn fails(&self, text: String) -> bool {
        let mut outage = self.lock();
        let now = Instant::now();
        let outage = outage.get_or_insert_with(|| Outage {
            text: String::new(),
            since: now,
            said: Vec::new(),
            last_said: now,
        });
        let new = outage.said.len() < SAID_MOST && !outage.said.contains(&text);
        let say = new || now - outage.last_said >= REMINDER;
        if new {
            outage.said.push(text.clone());
        }
        if say {
            outage.last_said = now;
        }
        outage.text = text;
        say
    }

    /// All is well. Returns for how long it was not.
    pub(super) fn works(&self) -> Option<Duration> {
        self.lock().take().map(|outage| outage.since.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
