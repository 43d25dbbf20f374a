//! The HTTP side of the test API server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Fault, Outage, Shared, Verb};

/// Between two tries to have the port back.
const TICK: Duration = Duration::from_millis(1);

/// Why a body breaks off.
type Broken = std::io::Error;
type Answer = Response<BoxBody<Bytes, Broken>>;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut wake = shared.wake.subscribe();
    let mut listener = Some(listener);
    loop {
        let outage = shared.lock().outage;
        if matches!(outage, Some(Outage::Refused | Outage::Reset)) {
            connections.abort_all();
        }
        if outage == Some(Outage::Refused) {
            drop(listener.take());
            // Keeps the port, without listening.
            let _port = bound(address).await;
            let _ = wake.wait_for(|()| shared.lock().outage != outage).await;
            continue;
        }
        let listener = match &mut listener {
            Some(listener) => listener,
            none => none.insert(bound(address).await.listen(1024).expect("the port was kept")),
        };
        let stream = tokio::select! {
            Ok((stream, _)) = listener.accept() => stream,
            _ = wake.changed() => continue,
            // Those that have ended are forgotten.
            Some(_) = connections.join_next() => continue,
            else => return,
        };
        if outage == Some(Outage::Reset) {
            // Closed with something unsaid.
            let _ = stream.set_zero_linger();
            continue;
        }
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
            // An error is a connection that ended, which is what some tests want.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// A program that is just being started has a copy of the listener for a moment.
async fn bound(address: SocketAddr) -> TcpSocket {
    let begun = Instant::now();
    loop {
        let socket = TcpSocket::new_v4().expect("there is a socket");
        socket.set_reuseaddr(true).expect("a socket has this option");
        match socket.bind(address) {
            Ok(()) => return socket,
            Err(_) if begun.elapsed() < Duration::from_secs(60) => sleep(TICK).await,
            Err(error) => panic!("the port is ours: {error}"),
        }
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answer, Infallible> {
    let url = request.uri().to_string();
    let query: BTreeMap<String, String> =
        pairs(request.uri().query().unwrap_or_default()).collect();
    let collection = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let verb = Verb::of(&url);
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let (fault, allowed, outage) = {
        let mut state = shared.lock();
        state.requests.push(url);
        state.agents.push(header("user-agent"));
        let wanted = state.token.as_ref().map(|token| format!("Bearer {token}"));
        (
            state.take_fault(verb, &collection),
            wanted.is_none() || wanted == Some(header("authorization")),
            state.outage,
        )
    };
    match outage {
        Some(Outage::Silent) => std::future::pending().await,
        Some(Outage::Status(code)) => return Ok(status(code, "away")),
        Some(Outage::Busy(seconds)) => {
            let mut answer = status(429, "too many requests, please try again later");
            answer.headers_mut().insert("retry-after", seconds.into());
            return Ok(answer);
        }
        _ => {}
    }
    if !allowed {
        return Ok(status(401, "Unauthorized"));
    }
    let version = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let early = {
        let state = shared.lock();
        (verb != Verb::Watch && version > state.stored.version).then_some(state.patience)
    };
    match early {
        Some(Some(patience)) => tokio::time::sleep(patience).await,
        Some(None) => std::future::pending().await,
        None => {}
    }
    let normal = |shared: &Arc<Shared>| match verb {
        Verb::List | Verb::Probe => list(shared, &collection, &query),
        Verb::Watch => watch(Arc::clone(shared), collection.clone(), &query),
    };
    Ok(match fault {
        None => normal(&shared),
        Some(Fault::Status(code)) => status(code, &format!("{collection} is refused by the test")),
        Some(Fault::NoAnswer) => std::future::pending().await,
        Some(Fault::Silence) => streamed(stream::pending()),
        Some(Fault::Garbage) => {
            streamed(stream::iter([Ok(Bytes::from_static(b"<html>\n<p>Sign in</p>\n"))]))
        }
        Some(Fault::GoneEvent) => {
            let event = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}});
            streamed(stream::iter([Ok(Bytes::from(format!("{event}\n")))]))
        }
        Some(Fault::Bookmark(version)) => bookmarked(&shared, version),
        Some(Fault::BookmarkAndCut) => shorten(bookmarked(&shared, None), usize::MAX, true),
        Some(Fault::CutAfter(bytes)) => shorten(normal(&shared), bytes, true),
        Some(Fault::EndAfter(bytes)) => shorten(normal(&shared), bytes, false),
    })
}

fn list(shared: &Shared, collection: &str, query: &BTreeMap<String, String>) -> Answer {
    let state = shared.lock();
    let stored = &state.stored;
    let wanted: u64 = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    if wanted > stored.version {
        return status(504, "Too large resource version");
    }
    let after = query.get("continue").map_or("", |word| word.as_str());
    let mut found = stored.objects.iter().filter(|((kind, key), object)| {
        kind == collection && key.as_str() > after && selected(object, query)
    });
    let asked = query.get("limit").and_then(|text| text.parse().ok());
    // As on the real server: what comes from the watch cache is not divided.
    let from_cache = query.contains_key("resourceVersion");
    let limit = if from_cache {
        usize::MAX
    } else {
        asked.unwrap_or(usize::MAX).min(state.page.unwrap_or(usize::MAX))
    };
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let mut metadata = json!({"resourceVersion": stored.version.to_string()});
    if found.next().is_some()
        && let Some(((_, key), _)) = page.last()
    {
        metadata["continue"] = json!(key);
    }
    let items: Vec<&Value> = page.into_iter().map(|(_, object)| object).collect();
    let text = format!(
        r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":{}}}"#,
        json!(items)
    );
    // In small parts, as a large list comes.
    let parts: Vec<_> =
        text.as_bytes().chunks(1000).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    streamed(stream::iter(parts))
}

fn watch(shared: Arc<Shared>, collection: String, query: &BTreeMap<String, String>) -> Answer {
    let version: u64 = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    if version < shared.lock().compacted {
        return status(410, "too old resource version");
    }
    let seconds = query.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(300);
    let (sender, receiver) = mpsc::channel(100);
    let query = query.clone();
    tokio::spawn(async move {
        let closed = sender.clone();
        tokio::select! {
            () = closed.closed() => {}
            () = follow(shared, collection, query, version, Duration::from_secs(seconds), sender) => {}
        }
    });
    let parts =
        stream::unfold(
            receiver,
            |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
        );
    streamed(parts)
}

/// Sends events until the time is over.
async fn follow(
    shared: Arc<Shared>,
    collection: String,
    query: BTreeMap<String, String>,
    mut version: u64,
    time: Duration,
    sender: mpsc::Sender<Result<Bytes, Broken>>,
) {
    let end = Instant::now() + time;
    let mut wake = shared.wake.subscribe();
    let (generation, number) = {
        let mut state = shared.lock();
        state.watches += 1;
        (state.generation, state.watches)
    };
    let every = shared.lock().bookmarks;
    let mut bookmark = every.map(|every| Instant::now() + every);
    loop {
        let (lines, cut, black_hole) = {
            let state = shared.lock();
            let news = state.stored.events.iter().filter(|event| event.version > version);
            let lines: Vec<_> = news
                .filter(|event| event.collection == collection)
                .filter_map(|event| seen_through(event.kind, &event.object, &query))
                .collect();
            let black_hole = state.black_hole || number <= state.frozen;
            if !black_hole {
                version = version.max(state.stored.version);
            }
            (lines, state.generation != generation, black_hole)
        };
        if cut {
            let _ = sender.send(Err(Broken::other("cut by the test"))).await;
            return;
        }
        for line in lines.into_iter().filter(|_| !black_hole) {
            let _ = sender.send(Ok(Bytes::from(line))).await;
        }
        // As on the real server, a watch from the future gets no bookmark either.
        let current = shared.lock().stored.version;
        let due = bookmark.is_some_and(|due| due <= Instant::now() || end <= Instant::now());
        if due && !black_hole && current >= version {
            let _ = sender.send(Ok(bookmark_of(current))).await;
            bookmark = every.map(|every| Instant::now() + every);
        }
        if end <= Instant::now() && !black_hole {
            return;
        }
        let next = bookmark.filter(|_| !black_hole).map_or(end, |bookmark| bookmark.min(end));
        let next = if black_hole { Instant::now() + Duration::from_secs(3600) } else { next };
        tokio::select! {
            _ = wake.changed() => {}
            () = sleep_until(next) => {}
        }
    }
}

fn bookmark_of(version: u64) -> Bytes {
    let metadata = json!({"resourceVersion": version.to_string()});
    let event = json!({"type": "BOOKMARK", "object": {"kind": "Object", "metadata": metadata}});
    Bytes::from(format!("{event}\n"))
}

/// An event as a watch with selectors gets it: an object that is no longer selected is deleted for it.
fn seen_through(kind: &str, object: &Value, query: &BTreeMap<String, String>) -> Option<String> {
    let kind = match (kind, selected(object, query)) {
        (kind, true) => kind,
        ("MODIFIED", false) => "DELETED",
        _ => return None,
    };
    Some(format!("{}\n", json!({"type": kind, "object": object})))
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let labels = query.get("labelSelector").is_none_or(|selector| {
        let label = |key: &str| &object["metadata"]["labels"][key];
        if let Some((key, value)) = selector.split_once(" notin ") {
            return *label(key) != value.trim_matches(['(', ')']);
        }
        let (key, value) = selector.split_once('=').unwrap_or((selector, ""));
        *label(key) == value
    });
    let phase = object["status"]["phase"].as_str().unwrap_or("Running");
    labels
        && query
            .get("fieldSelector")
            .is_none_or(|selector| !selector.contains(&format!("status.phase!={phase}")))
}

fn status(code: u16, message: &str) -> Answer {
    let body = json!({"kind": "Status", "status": "Failure", "message": message, "code": code});
    let mut answer = streamed(stream::iter([Ok(Bytes::from(body.to_string()))]));
    *answer.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    answer
}

fn bookmarked(shared: &Shared, version: Option<u64>) -> Answer {
    let version = version.unwrap_or(shared.lock().stored.version);
    streamed(stream::iter([Ok(bookmark_of(version))]))
}

fn shorten(answer: Answer, bytes: usize, broken: bool) -> Answer {
    let (parts, body) = answer.into_parts();
    assert!(!body.is_end_stream(), "a body to be shortened has something in it");
    let frames = http_body_util::BodyStream::new(body)
        .filter_map(|frame| async move { frame.ok()?.into_data().ok() });
    // Later than the bytes, which would not be sent otherwise.
    let end = stream::iter(broken.then_some(())).then(|()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(Broken::other("cut by the test"))
    });
    let shortened = frames
        .scan(bytes, |left, part| {
            let part = part.slice(..part.len().min(*left));
            *left -= part.len();
            std::future::ready((!part.is_empty()).then_some(Ok(part)))
        })
        .chain(end);
    Response::from_parts(parts, streamed(shortened).into_body())
}

fn streamed(parts: impl Stream<Item = Result<Bytes, Broken>> + Send + Sync + 'static) -> Answer {
    Response::new(BoxBody::new(StreamBody::new(parts.map(|part| part.map(Frame::data)))))
}

/// The parameters of a query, decoded.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value)))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
                rest = &after[2..];
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
