//! One kind of object: what there is of it, and who watches it.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::FIRST_VERSION;

/// Events that a watch can still be given afterwards; one from an older version has expired.
const HISTORY: usize = 4096;

/// One kind of object.
pub(super) struct Kind {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    state: Mutex<State>,
    /// Lists that were asked for.
    lists: AtomicU64,
}

/// What changes, all at once.
struct State {
    /// JSON texts ready to be sent.
    items: Arc<Vec<Arc<str>>>,
    version: u64,
    /// What the list was that is being read in pages.
    paged: Option<(u64, Arc<Vec<Arc<str>>>)>,
    history: VecDeque<(u64, Arc<str>)>,
    watches: Vec<TcpStream>,
}

impl Kind {
    pub(super) fn new(
        path: &'static str,
        name: &'static str,
        version: &'static str,
        items: impl Iterator<Item = Value>,
    ) -> Kind {
        let items: Vec<Arc<str>> = items.map(|item| item.to_string().into()).collect();
        let (history, watches) = (VecDeque::new(), Vec::new());
        let items = Arc::new(items);
        let state = State { items, version: FIRST_VERSION, paged: None, history, watches };
        Kind { path, name, version, state: Mutex::new(state), lists: AtomicU64::new(0) }
    }

    /// The objects for a new list, and the version they are of.
    pub(super) fn list(&self) -> (Arc<Vec<Arc<str>>>, u64) {
        self.lists.fetch_add(1, Relaxed);
        let mut state = self.lock();
        let now = (state.version, Arc::clone(&state.items));
        state.paged = Some(now.clone());
        (now.1, now.0)
    }

    /// The same for further pages of a list; `None` when another one was begun since.
    pub(super) fn list_of(&self, version: u64) -> Option<Arc<Vec<Arc<str>>>> {
        let state = self.lock();
        state.paged.as_ref().filter(|(of, _)| *of == version).map(|(_, items)| Arc::clone(items))
    }

    /// How often a list was asked for.
    pub(super) fn lists(&self) -> u64 {
        self.lists.load(Relaxed)
    }

    /// How many watches are open.
    pub(super) fn watches(&self) -> usize {
        self.lock().watches.len()
    }

    /// From here on the connection gets the events after `version`; an error and `false` when these are not known any more.
    pub(super) fn watch(&self, stream: &TcpStream, version: u64) -> io::Result<bool> {
        let mut state = self.lock();
        let oldest = state.history.front().map_or(state.version + 1, |(version, _)| *version);
        if version + 1 < oldest {
            return send(stream, &expired()).map(|()| false);
        }
        for (_, line) in state.history.iter().filter(|(of, _)| *of > version) {
            send(stream, line)?;
        }
        let copy = stream.try_clone()?;
        state.watches.push(copy);
        Ok(true)
    }

    /// The connection watches no longer.
    pub(super) fn unwatch(&self, stream: &TcpStream) {
        let own = stream.peer_addr().ok();
        self.lock().watches.retain(|other| other.peer_addr().ok() != own);
    }

    /// Tells one who watches how far the watch is.
    pub(super) fn tell_version(&self, stream: &TcpStream) -> io::Result<()> {
        let state = self.lock();
        send(stream, &self.bookmark(state.version))
    }

    /// An object changes: everyone who watches is told at once, on this thread. The text is the object's as the event and later lists
    /// have it, and `item` its number in the list.
    pub(super) fn change(&self, item: usize, object: String) {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let line: Arc<str> = format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n").into();
        state.watches.retain(|stream| send(stream, &line).is_ok());
        state.history.push_back((version, line));
        if state.history.len() > HISTORY {
            state.history.pop_front();
        }
        if let Some(known) = Arc::make_mut(&mut state.items).get_mut(item) {
            *known = object.into();
        }
    }

    /// The version that the next change will have.
    pub(super) fn next_version(&self) -> u64 {
        self.lock().version + 1
    }

    /// Ends all watches with the error 410: what was watched from has expired.
    pub(super) fn expire(&self) {
        let mut state = self.lock();
        let error = expired();
        let bookmark = self.bookmark(state.version);
        for stream in state.watches.drain(..) {
            // Who watches heard something before, as it is on a server that lives longer than this one. Who has gone already
            // needs no error.
            let _ = send(&stream, &bookmark);
            let _ = send(&stream, &error);
            let _ = (&stream).write_all(b"0\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn bookmark(&self, version: u64) -> String {
        format!(
            "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{version}\"}}}}}}\n",
            self.name, self.version
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line that says that a watch has to begin with a list.
fn expired() -> String {
    let error = super::error::status(410, "Expired", "too old resource version");
    format!("{{\"type\":\"ERROR\",\"object\":{error}}}\n")
}

/// One chunk with one line.
fn send(mut stream: &TcpStream, line: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())
}
