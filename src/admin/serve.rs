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
use tokio_util::sync::CancellationToken;

use super::Pages;
use super::timely::Timely;
use crate::net::{ConnectionGuard, Connections, accept};

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
    let converse = |stream, _, place| converse(stream, Arc::clone(&pages), place, stop.clone());
    accept(socket, places, stop.clone(), FAREWELL, converse).await;
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
            // What was asked in time is read first, however late we look.
            biased;
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
