//! Follows one kind of object on the API server: list, watch, and again from where that ended.
//!
//! ```text
//!  start -> List(Any) -- read ---> Watch(version) <--------------------------------------.
//!             ^ failed              |    |   \___ ended in time, after a bookmark: again --|
//!             '- again              |    | ended in time, but without a bookmark          |
//!                                   |    v                                                |
//!    failed, or ended early:        |  Probe(version): at which version are you? -- newer-'
//!    the server may have restarted  |    ^                                        |
//!                                   v    | not the first time                     | older
//!   410 Gone --> List(AtLeast) <-- suspect                                        |
//!                   '- refused or not answered --> List(Latest) <-----------------'
//! ```
//!
//! A server that was restored from a backup is *behind* what we have seen. It sends nothing for a watch from our version until it has
//! caught up, neither an error nor a bookmark: that is what the probe finds. If it has caught up already, by changes that are not those that
//! we know, only a list shows what is different. So the first odd end of a watch in a while leads to a list, which is
//! compared and costs no more than what a restarted server asks for anyway (410 Gone); odd ends in quick succession lead to a probe.
//!
//! A server that says 429 is there, and is asked for the same again. All that says that it was away (no connection, no answer, 5xx) leads to a
//! list, as it may have been restored meanwhile.
//!
//! The server sends a bookmark shortly before it ends a watch as asked. The first watch after a failure is a short one, so that its
//! bookmark soon says that the data is current again.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::Response;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::connection::Connection;
use super::decode::decode;
use super::event::{self, Event};
use super::failure::{Failure, with_causes};
use super::feed::Feed;
use super::scan::{LineScanner, ListScanner, Piece};
use super::{Sink, Timing};
use crate::kubernetes::objects::Resource;

/// Objects per page of a list that the server reads from its store. What comes from its watch cache comes in one piece anyway.
const PAGE: u32 = 500;

/// Pods that have ended have no address (CoreDNS's `podListFunc`).
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";

/// Follows one kind of object.
pub(super) struct Reflector<S> {
    feed: Feed<S>,
    connection: Arc<Connection>,
    /// Path and selectors, to which a request adds its parameters.
    base: String,
    timing: Timing,
    /// What has been seen: that of the last list, event or bookmark. Empty before the first list.
    version: String,
    /// When the last event or bookmark of the watch that runs came.
    heard: Option<Instant>,
    /// When a list was last read because of a suspicion.
    suspected: Option<Instant>,
}

/// What to do next.
enum Step {
    List(From),
    /// The watch that comes after it is of this length.
    Probe(Length),
    Watch(Length),
}

/// How long a watch is asked to last.
#[derive(Clone, Copy)]
enum Length {
    /// Long enough for a bookmark.
    Trial,
    /// As long as it takes to notice a dead connection in time.
    Usual,
}

/// How new a list has to be.
enum From {
    /// Whatever the server has at hand; the watch brings what is missing.
    Any,
    /// Nothing older than what we have: the server may answer from its watch cache.
    AtLeast,
    /// What is stored now.
    Latest(Pages),
}

/// How a list that comes from the server's store is divided.
enum Pages {
    /// Into pages that are easy on the server.
    Small,
    /// Not at all: the pages became too old before the last one was read.
    One,
}

impl<S: Sink> Reflector<S> {
    pub(super) fn new(
        feed: Feed<S>,
        connection: Arc<Connection>,
        selector: Option<&str>,
        timing: Timing,
    ) -> Reflector<S> {
        let base = base(feed.resource(), selector);
        Reflector {
            feed,
            connection,
            base,
            timing,
            version: String::new(),
            heard: None,
            suspected: None,
        }
    }

    /// Follows the objects for ever.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.timing.backoff, self.timing.backoff_most);
        let mut step = Step::List(From::Any);
        loop {
            let asked_at_least = matches!(step, Step::List(From::AtLeast));
            let taken = AssertUnwindSafe(self.take(step, &mut backoff)).catch_unwind().await;
            // What was reported is still known; a list shows what was not.
            let panicked = (Step::List(From::Latest(Pages::Small)), Some(Failure::Panic));
            let (next, failure) = taken.unwrap_or(panicked);
            step = next;
            if let Some(failure) = failure {
                self.feed.fails(&failure);
                // Asking for a list at once is right the first time, and still bounded when it goes on like that.
                let turns = failure.is_a_turn()
                    || asked_at_least && matches!(step, Step::List(From::Latest(_)));
                sleep(backoff.after(&failure, turns)).await;
            }
        }
    }

    /// Takes a step. Returns what to do next, and what went wrong.
    async fn take(&mut self, step: Step, backoff: &mut Backoff) -> (Step, Option<Failure>) {
        match step {
            Step::List(from) => match self.list(&from).await {
                Ok(()) => (Step::Watch(Length::Usual), None),
                Err(failure) => (Step::List(after_failed_list(from, &failure)), Some(failure)),
            },
            Step::Probe(length) => match self.probe().await {
                Ok(()) => (Step::Watch(length), None),
                Err(failure) => (after_failed_probe(&failure), Some(failure)),
            },
            Step::Watch(length) => self.watch(length, backoff).await,
        }
    }

    /// Reads a list.
    async fn list(&mut self, from: &From) -> Result<(), Failure> {
        let (limit, version) = (PAGE.to_string(), self.version.clone());
        let mut page = String::new();
        self.feed.list_begins();
        loop {
            let mut parameters = match from {
                From::Any => vec![("resourceVersion", "0")],
                From::AtLeast => {
                    vec![
                        ("resourceVersion", version.as_str()),
                        ("resourceVersionMatch", "NotOlderThan"),
                    ]
                }
                From::Latest(Pages::Small) => vec![("limit", limit.as_str())],
                From::Latest(Pages::One) => Vec::new(),
            };
            if !page.is_empty() {
                parameters.push(("continue", &page));
            }
            let metadata = self.page(&self.url(&parameters)).await?;
            page = metadata.next;
            if page.is_empty() {
                self.feed.list_ended();
                self.feed.complete();
                self.feed.works();
                let came = self.advance(metadata.resource_version);
                // It has just been read, whatever it is.
                came.unwrap_or_else(|failure| self.feed.notes(&failure));
                return Ok(());
            }
        }
    }

    /// Reads one page, object by object as they arrive.
    async fn page(&mut self, url: &str) -> Result<ListMetadata, Failure> {
        let mut body = self.connection.get(url).await?;
        let mut scanner = ListScanner::default();
        let mut metadata = None;
        let resource = self.feed.resource();
        while let Some(chunk) = chunk(&mut body, self.timing.list_silence).await? {
            scanner.push(&chunk, |piece| {
                match piece {
                    Piece::Metadata(text) => {
                        metadata = Some(serde_json::from_slice(text).map_err(malformed)?)
                    }
                    Piece::Item(text) => {
                        match decode(resource, &mut serde_json::Deserializer::from_slice(text)) {
                            Ok(decoded) => self.feed.seen(decoded),
                            Err(error) => passed_over(resource, &error),
                        }
                    }
                }
                Ok::<_, Failure>(())
            })?;
        }
        match metadata {
            Some(metadata) if scanner.ended() => Ok(metadata),
            _ => Err(Failure::Cut("the list ended in its middle".to_owned())),
        }
    }

    /// Asks the server how far it is: a quorum read, but of one object at most.
    async fn probe(&mut self) -> Result<(), Failure> {
        let to = self.first_object().await?.resource_version;
        match compare(&to, &self.version) {
            Some(Ordering::Less) => Err(Failure::WentBack { from: self.version.clone(), to }),
            _ => Ok(()),
        }
    }

    /// Lists one object and passes it over: it is not a list that says what is gone.
    async fn first_object(&mut self) -> Result<ListMetadata, Failure> {
        let mut body = self.connection.get(&self.url(&[("limit", "1")])).await?;
        let mut scanner = ListScanner::default();
        let mut metadata = None;
        while let Some(chunk) = chunk(&mut body, self.timing.list_silence).await? {
            scanner.push(&chunk, |piece| {
                if let Piece::Metadata(text) = piece {
                    metadata = Some(serde_json::from_slice(text).map_err(malformed)?);
                }
                Ok::<_, Failure>(())
            })?;
        }
        metadata.ok_or_else(|| Failure::Cut("the list ended in its middle".to_owned()))
    }

    /// Reads events until the watch ends. Returns what to do next, and what went wrong.
    async fn watch(&mut self, length: Length, backoff: &mut Backoff) -> (Step, Option<Failure>) {
        let time = match length {
            Length::Trial => self.timing.trial,
            Length::Usual => self.timing.watch.mul_f64(1.0 + 0.25 * fastrand::f64()),
        };
        let started = Instant::now();
        self.heard = None;
        let result = self.events(time).await;
        // One that says something and is over at once is no better than one that fails.
        let has_lasted = started.elapsed() >= self.timing.backoff_most;
        if has_lasted && (self.heard.is_some() || result.is_ok()) {
            backoff.reset();
        }
        match result {
            Ok(()) if started.elapsed() < time.mul_f64(0.9) => {
                if !has_lasted {
                    sleep(backoff.after_early_end()).await;
                }
                (self.suspect(), None)
            }
            Ok(()) if self.heard.is_some() => (Step::Watch(Length::Usual), None),
            Ok(()) => (Step::Probe(Length::Usual), None),
            Err(failure @ Failure::Expired) => (Step::List(From::AtLeast), Some(failure)),
            Err(failure @ Failure::WentBack { .. }) => {
                (Step::List(From::Latest(Pages::Small)), Some(failure))
            }
            // It is there, and says so. A list would make it worse.
            Err(failure @ Failure::Status { code: 429, .. }) => {
                (Step::Watch(Length::Trial), Some(failure))
            }
            Err(failure) => {
                if matches!(failure, Failure::Stalled(_)) {
                    self.connection.distrust().await;
                }
                (self.suspect(), Some(failure))
            }
        }
    }

    /// The server may not be what it was.
    fn suspect(&mut self) -> Step {
        let pause = self.timing.suspicion_pause;
        if self.suspected.is_some_and(|time| time.elapsed() < pause) {
            return Step::Probe(Length::Trial);
        }
        self.suspected = Some(Instant::now());
        Step::List(From::AtLeast)
    }

    async fn events(&mut self, time: Duration) -> Result<(), Failure> {
        // The server counts in whole seconds.
        let seconds = time.as_secs_f64().ceil();
        let parameters = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds.to_string()),
            ("resourceVersion", &self.version),
        ];
        let mut body = self.connection.get(&self.url(&parameters)).await?;
        self.feed.works();
        let mut lines = LineScanner::default();
        let time = Duration::from_secs_f64(seconds) + self.timing.watch_grace;
        let end = Instant::now() + time;
        loop {
            let chunk = match chunk(&mut body, end.saturating_duration_since(Instant::now())).await
            {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(()),
                // A server that sends, but does not end the watch: it is ended from here.
                Err(Failure::Stalled(_))
                    if self.heard.is_some_and(|heard| end - heard < self.timing.watch) =>
                {
                    return Ok(());
                }
                Err(Failure::Stalled(_)) => return Err(Failure::Stalled(time)),
                Err(failure) => return Err(failure),
            };
            let before = self.heard;
            let result = lines.push(&chunk, |line| self.event(line));
            if self.heard != before {
                self.feed.current();
            }
            result?;
        }
    }

    fn event(&mut self, line: &[u8]) -> Result<(), Failure> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match event::read(self.feed.resource(), line) {
            Ok(event) => self.change(event),
            Err(_) => self.other_event(line),
        }
    }

    fn change(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Seen(mut decoded) => {
                self.advance(std::mem::take(&mut decoded.version))?;
                self.feed.seen(decoded);
            }
            Event::Gone(decoded) => {
                self.heard = Some(Instant::now());
                // Some servers say at which version it was last alive.
                if compare(&decoded.version, &self.version) != Some(Ordering::Less) {
                    self.advance(decoded.version)?;
                }
                self.feed.gone(decoded.key);
            }
        }
        Ok(())
    }

    /// A line that does not tell of an object in the usual way.
    fn other_event(&mut self, line: &[u8]) -> Result<(), Failure> {
        let event: OtherEvent<'_> = serde_json::from_slice(line).map_err(malformed)?;
        let resource = self.feed.resource();
        let object = event.object;
        match event.kind {
            "BOOKMARK" => {
                let bookmark = Bookmark::deserialize(object).map_err(malformed)?;
                self.advance(bookmark.metadata.resource_version)
            }
            "ERROR" => Err(Status::deserialize(object).map_err(malformed)?.failure()),
            kind => match decode(resource, object) {
                Ok(decoded) if kind == "DELETED" => self.change(Event::Gone(decoded)),
                Ok(decoded) => self.change(Event::Seen(decoded)),
                Err(error) => {
                    passed_over(resource, &error);
                    Ok(())
                }
            },
        }
    }

    /// A list, event or bookmark with this version came.
    fn advance(&mut self, version: String) -> Result<(), Failure> {
        let from = std::mem::replace(&mut self.version, version);
        match compare(&self.version, &from) {
            Some(Ordering::Less) => Err(Failure::WentBack { from, to: self.version.clone() }),
            _ => {
                self.heard = Some(Instant::now());
                Ok(())
            }
        }
    }

    fn url(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = self.base.clone();
        for (name, value) in parameters {
            add_parameter(&mut url, name, value);
        }
        url
    }
}

fn after_failed_list(from: From, failure: &Failure) -> From {
    match (from, failure) {
        // Too old for the server's watch cache, or too new ("Too large resource version", 504), which some servers wait for without a word.
        (From::AtLeast, Failure::Expired | Failure::Status { code: 500, .. })
        // It takes too long as a whole, for the server or for us; what comes from the cache is not divided.
        | (From::Any | From::AtLeast, Failure::Stalled(_) | Failure::Status { code: 504, .. }) => {
            From::Latest(Pages::Small)
        }
        // Other errors of a server that starts or is overloaded are no reason to read from its store.
        (From::Latest(_), Failure::Expired) => From::Latest(Pages::One),
        (From::Latest(_), _) => From::Latest(Pages::Small),
        (from @ (From::Any | From::AtLeast), _) => from,
    }
}

fn after_failed_probe(failure: &Failure) -> Step {
    match failure {
        Failure::WentBack { .. } => Step::List(From::Latest(Pages::Small)),
        // Out of reach, or something before it says so: it may have been restored meanwhile.
        Failure::Connect(_)
        | Failure::Stalled(_)
        | Failure::Cut(_)
        | Failure::Status { code: 500.., .. } => Step::List(From::AtLeast),
        _ => Step::Probe(Length::Trial),
    }
}

/// The next part of a body; `None` at its end.
async fn chunk(body: &mut Response<Body>, silence: Duration) -> Result<Option<Bytes>, Failure> {
    loop {
        match timeout(silence, body.body_mut().frame()).await {
            Err(_) => return Err(Failure::Stalled(silence)),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(Failure::Cut(with_causes(&error))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Versions are numbers that grow; what is none cannot be compared.
fn compare(one: &str, other: &str) -> Option<Ordering> {
    Some(one.parse::<u128>().ok()?.cmp(&other.parse().ok()?))
}

fn malformed(error: serde_json::Error) -> Failure {
    Failure::Malformed(error.to_string())
}

fn passed_over(resource: Resource, error: &serde_json::Error) {
    tracing::warn!("plugin/kubernetes: {}: an object is passed over: {error}", resource.name());
}

/// Path and selectors.
fn base(resource: Resource, selector: Option<&str>) -> String {
    let group = match resource {
        Resource::EndpointSlices => "/apis/discovery.k8s.io/v1",
        _ => "/api/v1",
    };
    let mut base = format!("{group}/{}", resource.name());
    if let Some(selector) = selector {
        add_parameter(&mut base, "labelSelector", selector);
    }
    if resource == Resource::Pods {
        add_parameter(&mut base, "fieldSelector", RUNNING);
    }
    base
}

fn add_parameter(url: &mut String, name: &str, value: &str) {
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str(name);
    url.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct OtherEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: ListMetadata,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

impl Status {
    fn failure(self) -> Failure {
        match self.code {
            410 => Failure::Expired,
            code => Failure::Status { code, text: format!("{code} {}", self.message), after: None },
        }
    }
}
