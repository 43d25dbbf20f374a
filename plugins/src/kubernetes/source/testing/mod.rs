//! An API server for tests: lists with pages, watches with bookmarks, and faults on demand, over HTTP on loopback.
//!
//! ```text
//! test: put, delete, fault, ... -> State (objects, history, faults) <- requests: list, watch
//! ```
//!
//! It has what a client that lists and watches can tell apart, and no more: no admission, no validation, no TLS. Label selectors know only
//! `key=value` and `key notin (value)`. A version counts all changes, as etcd's revision does.

mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running API server. It ends when it is dropped.
pub(crate) struct TestApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What can go wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error with this HTTP status.
    Status(u16),
    /// A header of 200, then a watch event that says 410 Gone.
    GoneEvent,
    /// No answer at all.
    NoAnswer,
    /// A header of 200, then a bookmark with this version, or the current one, and the end.
    Bookmark(Option<u64>),
    /// The same, but the connection breaks after it.
    BookmarkAndCut,
    /// A header of 200, then nothing.
    Silence,
    /// The connection breaks after so many bytes of the body.
    CutAfter(usize),
    /// The body ends, as if complete, after so many bytes.
    EndAfter(usize),
    /// The body is not JSON.
    Garbage,
}

/// How the whole server can be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Nobody listens.
    Refused,
    /// Connections are reset as soon as they are made.
    Reset,
    /// Connections are accepted, or stay as they are, and nothing comes.
    Silent,
    /// All requests get an error with this HTTP status.
    Status(u16),
    /// All requests get 429 Too Many Requests, with so many seconds in `Retry-After`.
    Busy(u64),
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Lists, but for those of one object.
    List,
    /// Lists of one object.
    Probe,
    /// Watches.
    Watch,
}

impl Verb {
    fn of(url: &str) -> Verb {
        let parameter = |wanted: &str| url.split(['?', '&']).any(|parameter| parameter == wanted);
        match () {
            () if parameter("watch=true") => Verb::Watch,
            () if parameter("limit=1") => Verb::Probe,
            () => Verb::List,
        }
    }
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the watches. The number is that of the last order to all of them.
    wake: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    stored: Stored,
    /// Versions up to this one are no longer known to watches.
    compacted: u64,
    faults: Vec<(Verb, &'static str, usize, Fault)>,
    requests: Vec<String>,
    agents: Vec<String>,
    /// Watches that began before this number are cut off.
    generation: u64,
    /// Running watches get nothing any more.
    black_hole: bool,
    /// How many watches there were, and which of them get nothing any more, whatever others get: those before this number.
    watches: u64,
    frozen: u64,
    outage: Option<Outage>,
    /// How long a list of a version that is still to come is held; `None`: for ever.
    patience: Option<Duration>,
    token: Option<String>,
    bookmarks: Option<Duration>,
    /// Lists from the store have at most this many objects on a page, whatever the client asks.
    page: Option<usize>,
}

/// What a backup would have.
#[derive(Clone, Default)]
struct Stored {
    version: u64,
    /// By collection (`services`) and `namespace/name`.
    objects: BTreeMap<(String, String), Value>,
    events: Vec<Event>,
}

#[derive(Clone)]
struct Event {
    version: u64,
    collection: String,
    kind: &'static str,
    object: Value,
}

/// A backup of a server's data.
#[derive(Clone)]
pub(crate) struct Backup(Stored);

impl Backup {
    /// As if so many changes of other kinds of objects had come after it.
    pub(crate) fn skip_versions(&mut self, number: u64) {
        self.0.version += number;
    }
}

impl TestApiServer {
    /// Starts one on a free port.
    pub(crate) async fn start() -> TestApiServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { state: Mutex::default(), wake: watch::Sender::new(()) });
        shared.lock().stored.version = 1000;
        shared.lock().patience = Some(Duration::ZERO);
        let task = tokio::spawn(serve::serve(listener, address, Arc::clone(&shared)));
        TestApiServer { address, shared, task }
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates or changes an object. `collection` is the API's plural.
    pub(crate) fn put(&self, collection: &str, mut object: Value) {
        self.change(|state| {
            let stored = &mut state.stored;
            stored.version += 1;
            object["metadata"]["resourceVersion"] = json!(stored.version.to_string());
            let key = (collection.to_owned(), key_of(&object));
            let known = stored.objects.insert(key, object.clone()).is_some();
            stored.event(collection, if known { "MODIFIED" } else { "ADDED" }, object);
        });
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, collection: &str, key: &str) {
        self.change(|state| {
            let stored = &mut state.stored;
            stored.version += 1;
            if let Some(mut object) =
                stored.objects.remove(&(collection.to_owned(), key.to_owned()))
            {
                object["metadata"]["resourceVersion"] = json!(stored.version.to_string());
                stored.event(collection, "DELETED", object);
            }
        });
    }

    /// The next `times` requests of this kind go wrong.
    pub(crate) fn fault(&self, verb: Verb, collection: &'static str, times: usize, fault: Fault) {
        self.change(|state| state.faults.push((verb, collection, times, fault)));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn forgive(&self) {
        self.change(|state| state.faults.clear());
    }

    /// Breaks the connections of all running watches.
    pub(crate) fn cut_watches(&self) {
        self.change(|state| state.generation += 1);
    }

    /// Watches get nothing any more, not even their end; or do so again.
    pub(crate) fn set_black_hole(&self, on: bool) {
        self.change(|state| state.black_hole = on);
    }

    /// The watches that run now get nothing any more; others do, and so do lists.
    pub(crate) fn freeze_watches(&self) {
        self.change(|state| state.frozen = state.watches);
    }

    /// The server goes away, or comes back. Running watches are cut off, but for a silent one's.
    pub(crate) fn set_outage(&self, outage: Option<Outage>) {
        self.change(|state| {
            state.outage = outage;
            state.black_hole = outage == Some(Outage::Silent);
            if !state.black_hole {
                state.generation += 1;
            }
        });
    }

    /// A list of a version that is still to come is refused (504) after this time, as on the real server; or never, as behind some proxies.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) {
        self.change(|state| state.patience = patience);
    }

    /// Forgets all events: watches from before now are 410 Gone.
    pub(crate) fn compact(&self) {
        self.change(|state| {
            state.stored.version += 1;
            state.compacted = state.stored.version;
        });
    }

    /// Only this bearer token is good from now on.
    pub(crate) fn require_token(&self, token: &str) {
        self.change(|state| state.token = Some(token.to_owned()));
    }

    /// Watches get a bookmark this often, and shortly before their end only if it is set.
    pub(crate) fn send_bookmarks(&self, every: Option<Duration>) {
        self.change(|state| state.bookmarks = every);
    }

    /// Lists from the store have pages of this size at most.
    pub(crate) fn set_page(&self, objects: usize) {
        self.change(|state| state.page = Some(objects));
    }

    /// What there is now.
    pub(crate) fn back_up(&self) -> Backup {
        Backup(self.shared.lock().stored.clone())
    }

    /// Goes back to a backup, as after a restart with a restored etcd.
    pub(crate) fn restore(&self, backup: Backup) {
        self.change(|state| {
            state.stored = backup.0;
            state.generation += 1;
        });
    }

    /// Path and query of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.lock().requests.clone()
    }

    /// The `User-Agent` of all requests so far.
    pub(crate) fn agents(&self) -> Vec<String> {
        self.shared.lock().agents.clone()
    }

    /// How many requests of a kind there were.
    pub(crate) fn count(&self, verb: Verb, collection: &str) -> usize {
        let collection = format!("/{collection}?");
        let matches = |url: &&String| url.contains(&collection) && Verb::of(url) == verb;
        self.shared.lock().requests.iter().filter(matches).count()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        self.shared.wake.send_replace(());
    }
}

impl Drop for TestApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    fn event(&mut self, collection: &str, kind: &'static str, object: Value) {
        let event =
            Event { version: self.version, collection: collection.to_owned(), kind, object };
        self.events.push(event);
    }
}

impl State {
    /// The fault for a request, if there is one left.
    fn take_fault(&mut self, verb: Verb, collection: &str) -> Option<Fault> {
        let fits = |(fault_verb, fault_collection, times, _): &&mut (Verb, &str, usize, Fault)| {
            *fault_verb == verb && *fault_collection == collection && *times > 0
        };
        self.faults.iter_mut().find(fits).map(|(_, _, times, fault)| {
            *times -= 1;
            fault.clone()
        })
    }
}

fn key_of(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}
