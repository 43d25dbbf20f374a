//! A fake API server: lists and watches of one cluster that does not change, in JSON over plain HTTP.
//!
//! It answers as a real one does where clients notice: pages by `limit` and `continue`, no pages for
//! `resourceVersion=0`, bookmarks on an idle watch, 422 for a streaming list (as with the feature gate `WatchList` off), and
//! objects as large as real ones, `managedFields` included. It has no protobuf: a client that prefers it gets JSON.

mod objects;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::cluster::Cluster;
use objects::Kind;
pub(crate) use objects::list;

/// The one resource version of everything.
const VERSION: &str = "1000000";
/// How often an idle watch gets a bookmark.
const BOOKMARK: Duration = Duration::from_secs(60);

/// A running fake API server; it serves until the process ends.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
}

/// All objects, as JSON texts ready to be sent.
struct Store {
    kinds: Vec<Kind>,
}

impl Api {
    /// Serves the cluster on a free loopback port.
    pub(crate) fn start(cluster: &Cluster) -> Result<Api> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let store = Arc::new(Store { kinds: objects::kinds(cluster) });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let store = Arc::clone(&store);
                // A client that goes away ends its connection with an error: nothing to report.
                thread::spawn(move || store.serve(stream));
            }
        });
        Ok(Api { address })
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
                    &[&objects::status(404, "NotFound", "no such path")],
                ),
            };
        };
        if !parameters.is_true("watch") {
            return self.list(stream, kind, parameters);
        }
        if parameters.is_true("sendInitialEvents") {
            let message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            return respond(
                stream,
                "422 Unprocessable Entity",
                &[&objects::status(422, "Invalid", message)],
            );
        }
        watch(stream, kind)
    }

    fn list(&self, stream: &TcpStream, kind: &Kind, parameters: &Parameters<'_>) -> io::Result<()> {
        let from: usize =
            parameters.get("continue").and_then(|text| text.parse().ok()).unwrap_or(0);
        // The watch cache of a real server ignores the limit when any version will do.
        let unlimited = parameters.get("resourceVersion") == Some("0");
        let limit = parameters
            .get("limit")
            .and_then(|text| text.parse().ok())
            .filter(|limit| !unlimited && *limit > 0);
        let to = limit.map_or(kind.items.len(), |limit: usize| kind.items.len().min(from + limit));
        let items = kind.items.get(from..to).unwrap_or_default();
        let next = if to < kind.items.len() { to.to_string() } else { String::new() };
        let head = format!(
            r#"{{"kind":"{}List","apiVersion":"{}","metadata":{{"resourceVersion":"{VERSION}","continue":"{next}"}},"items":["#,
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
}

/// Holds the connection open until the client closes it.
fn watch(mut stream: &TcpStream, kind: &Kind) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    stream.set_read_timeout(Some(BOOKMARK))?;
    let bookmark = format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{VERSION}\"}}}}}}\n",
        kind.name, kind.version
    );
    loop {
        match stream.read(&mut [0; 1]) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                write!(stream, "{:x}\r\n{bookmark}\r\n", bookmark.len())?;
            }
            // The client never speaks while it watches: it has gone.
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

fn respond(mut stream: &TcpStream, status: &str, parts: &[&str]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length + 200);
    write!(
        bytes,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )?;
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
    }
    stream.write_all(&bytes)
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

    fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }
}
