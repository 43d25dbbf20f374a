//! Serves the pages of one listener: whoever comes is let in, and whoever holds a place without need loses it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use periplus_core::metrics::Counter;
use periplus_core::setup::PageContent;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Pages;
use super::timely::Timely;
use crate::net::{ConnectionGuard, Connections, TCP_BACKLOG};

/// A peer must have sent its request by then, the first one or the next.
const REQUEST: Duration = Duration::from_secs(5);
/// A peer must have taken its answer by then.
const ANSWER: Duration = Duration::from_secs(10);
/// Connections of one listener at once.
const MAX_CONNECTIONS: usize = 64;
/// After the listener stops, what peers had asked before they could know is read for so long.
const LAST_REQUEST: Duration = Duration::from_millis(200);
/// How long open connections may go on after the listener stops, until they have their answers.
const FAREWELL: Duration = Duration::from_secs(1);

/// Accepts until told to stop; then gives the open connections a moment to get their answers.
pub(super) async fn serve(
    socket: TcpListener,
    pages: Arc<ArcSwap<Pages>>,
    stop: CancellationToken,
) {
    // These are no requests for DNS: no metric counts who is told to go.
    let places = Arc::new(Connections::new(MAX_CONNECTIONS, Counter::detached()));
    let mut connections = JoinSet::new();
    let take = |connections: &mut JoinSet<()>, stream: TcpStream| {
        let Ok(peer) = stream.peer_addr() else { return };
        let place = places.enter(peer.ip().to_canonical(), Instant::now());
        connections.spawn(converse(stream, Arc::clone(&pages), place, stop.clone()));
    };
    loop {
        while places.must_pause() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                take(&mut connections, stream);
                // It may read what was asked already before the next one can take its place.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                // Out of descriptors: one connection less. Otherwise the connection is already gone, and the next one may be fine.
                if let Some(libc::EMFILE | libc::ENFILE) = error.raw_os_error() {
                    places.make_room();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    // Whom the kernel has connected already would lose the connection with the socket.
    if let Ok(socket) = socket.into_std() {
        let waiting = std::iter::from_fn(|| socket.accept().ok()).take(TCP_BACKLOG);
        for (stream, _) in waiting {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                take(&mut connections, stream);
            }
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all).await;
}

/// Answers one peer until it goes, or has to.
async fn converse(
    stream: TcpStream,
    pages: Arc<ArcSwap<Pages>>,
    place: ConnectionGuard,
    stop: CancellationToken,
) {
    let service = service_fn(|request| {
        place.used(Instant::now());
        let response = respond(&request, &pages.load());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(Timely::new(stream, ANSWER)), service);
    let last_request = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_REQUEST).await;
    };
    // How a connection ends concerns nobody but its peer.
    let conversation = async {
        tokio::select! {
            _ = &mut connection => return,
            () = last_request => {}
        }
        Pin::new(&mut connection).graceful_shutdown();
        let _ = (&mut connection).await;
    };
    let must_go = tokio::select! {
        () = conversation => false,
        () = place.must_go() => true,
    };
    // The kernel need not keep for long what a slow one has not taken.
    let stream = connection.into_parts().io.into_inner();
    if must_go || stream.is_owed() {
        stream.reset();
    }
}

fn respond(request: &Request<Incoming>, pages: &Pages) -> Response<Full<Bytes>> {
    let content = match pages.get(request.uri().path()) {
        None => PageContent::text(404, "404 page not found\n"),
        Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            PageContent::text(405, "Method Not Allowed\n")
        }
        Some(content) => content(),
    };
    let mut response = Response::new(Full::new(Bytes::from(content.body)));
    *response.status_mut() =
        StatusCode::from_u16(content.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media_type = hyper::header::HeaderValue::from_static(content.content_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    if content.status == 405 {
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}
