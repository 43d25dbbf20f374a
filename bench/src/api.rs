//! A fake API server: lists and watches of one cluster, in JSON over plain HTTP.
//!
//! It answers as a real one does where clients notice: pages by `limit` and `continue`, no pages for
//! `resourceVersion=0`, a bookmark before a watch ends as asked, 410 for a watch from long ago, 422 for a streaming list (as with the
//! feature gate `WatchList` off), and objects as large as real ones, `managedFields` included. It has no protobuf: a client that
//! prefers it gets JSON.

mod error;
mod kind;
mod objects;

use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::cluster::Cluster;
use kind::Kind;
pub(crate) use objects::{list, slice};

/// The resource version of everything before anything changes.
const FIRST_VERSION: u64 = 1_000_000;
/// How long a watch lasts that does not say how long it wants to.
const WATCH: Duration = Duration::from_secs(1800);
/// How long before its end a watch gets a bookmark.
const BOOKMARK: Duration = Duration::from_secs(2);

/// A running fake API server; it serves until the process ends.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    store: Arc<Store>,
}

/// All objects.
struct Store {
    kinds: Vec<Kind>,
}

impl Api {
    /// Serves the cluster on a free loopback port.
    pub(crate) fn start(cluster: &Cluster) -> Result<Api> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let store = Arc::new(Store { kinds: objects::kinds(cluster) });
        let shared = Arc::clone(&store);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let store = Arc::clone(&shared);
                // A client that goes away ends its connection with an error: nothing to report.
                thread::spawn(move || store.serve(stream));
            }
        });
        Ok(Api { address, store })
    }

    /// Changes the EndpointSlice that is number `item` of all: the object is made for the version it will have.
    pub(crate) fn change_slice(&self, item: usize, object: impl FnOnce(u64) -> String) {
        if let Some(slices) = self.slices() {
            slices.change(item, object(slices.next_version()));
        }
    }

    /// Ends all watches as a server does that has forgotten what was before: everything has to be listed again.
    pub(crate) fn expire(&self) {
        self.store.kinds.iter().for_each(Kind::expire);
    }

    /// How many watches of EndpointSlices are open.
    pub(crate) fn watches(&self) -> usize {
        self.slices().map_or(0, Kind::watches)
    }

    /// How often EndpointSlices were listed.
    pub(crate) fn lists(&self) -> u64 {
        self.slices().map_or(0, Kind::lists)
    }

    fn slices(&self) -> Option<&Kind> {
        self.store.kinds.iter().find(|kind| kind.path == objects::SLICES)
    }
}

impl Store {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            if reader.by_ref().take(8192).read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut header = String::new();
            while reader.by_ref().take(8192).read_line(&mut header)? > 2 {
                header.clear();
            }
            let target = line.split(' ').nth(1).unwrap_or_default();
            let (path, parameters) = target.split_once('?').unwrap_or((target, ""));
            self.answer(&stream, path, &Parameters(parameters))?;
        }
    }

    fn answer(
        &self,
        stream: &TcpStream,
        path: &str,
        parameters: &Parameters<'_>,
    ) -> io::Result<()> {
        let Some(kind) = self.kinds.iter().find(|kind| kind.path == path) else {
            return match objects::discovery(path) {
                Some(body) => respond(stream, "200 OK", &[body]),
                None => respond(
                    stream,
                    "404 Not Found",
                    &[&error::status(404, "NotFound", "no such path")],
                ),
            };
        };
        if !parameters.is_true("watch") {
            return list_of(stream, kind, parameters);
        }
        if parameters.is_true("sendInitialEvents") {
            let message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            return respond(
                stream,
                "422 Unprocessable Entity",
                &[&error::status(422, "Invalid", message)],
            );
        }
        let result = watch(stream, kind, parameters);
        kind.unwatch(stream);
        result
    }
}

fn list_of(stream: &TcpStream, kind: &Kind, parameters: &Parameters<'_>) -> io::Result<()> {
    // `continue` is where to go on in a list of which version.
    let token = parameters.get("continue").and_then(|token| token.split_once('.'));
    let (all, version, from) = match token {
        None => {
            let (all, version) = kind.list();
            (all, version, 0)
        }
        Some((version, from)) => {
            let version = version.parse().unwrap_or(0);
            let Some(all) = kind.list_of(version) else {
                let error = error::status(410, "Expired", "the list is not there any more");
                return respond(stream, "410 Gone", &[&error]);
            };
            (all, version, from.parse().unwrap_or(0))
        }
    };
    // The watch cache of a real server ignores the limit when any version will do.
    let unlimited = parameters.get("resourceVersion") == Some("0");
    let limit = parameters.number("limit").filter(|limit| !unlimited && *limit > 0);
    let to = limit.map_or(all.len(), |limit: usize| all.len().min(from + limit));
    let items = all.get(from..to).unwrap_or_default();
    let next = if to < all.len() { format!("{version}.{to}") } else { String::new() };
    let head = format!(
        r#"{{"kind":"{}List","apiVersion":"{}","metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":["#,
        kind.name, kind.version
    );
    let mut parts: Vec<&str> = vec![&head];
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            parts.push(",");
        }
        parts.push(item);
    }
    parts.push("]}");
    respond(stream, "200 OK", &parts)
}

/// Events until the time is over that the client asks for, or until it closes the connection.
fn watch(mut stream: &TcpStream, kind: &Kind, parameters: &Parameters<'_>) -> io::Result<()> {
    let time = parameters.number("timeoutSeconds").map_or(WATCH, Duration::from_secs);
    let end = Instant::now() + time;
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    )?;
    let version = parameters.number("resourceVersion").unwrap_or(FIRST_VERSION);
    if !kind.watch(stream, version)? {
        stream.write_all(b"0\r\n\r\n")?;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    for (until, last) in [(end.checked_sub(BOOKMARK), false), (Some(end), true)] {
        let wait = until.unwrap_or(end).saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match stream.read(&mut [0; 1]) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            // The client never speaks while it watches: it has gone.
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        if !last {
            kind.tell_version(stream)?;
        }
    }
    kind.unwatch(stream);
    stream.write_all(b"0\r\n\r\n")?;
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn respond(stream: &TcpStream, status: &str, parts: &[&str]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = BufWriter::with_capacity(256 * 1024, stream);
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )?;
    for part in parts {
        out.write_all(part.as_bytes())?;
    }
    out.flush()
}

/// The query string of a request. Values that matter here are never percent-encoded.
struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).and_then(|text| text.parse().ok())
    }

    fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }
}
