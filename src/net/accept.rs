//! The connections of a TCP listener, from the first to the last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connections::{ConnectionGuard, Connections};
use super::sockets::TCP_BACKLOG;

/// Accepts until told to stop, and converses with each peer in a task of its own; then gives those that are left until `farewell` to get
/// their answers.
pub(crate) async fn accept<F>(
    socket: TcpListener,
    places: Arc<Connections>,
    stop: CancellationToken,
    farewell: Duration,
    converse: impl Fn(TcpStream, SocketAddr, ConnectionGuard) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let take = |connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr| {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let place = places.enter(peer.ip(), Instant::now());
        connections.spawn(converse(stream, peer, place));
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
        // Those that have ended keep some memory until they are taken out.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                take(&mut connections, stream, peer);
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
    // Whom the kernel has connected already would lose the connection with the socket. They did not come too late: they get an answer.
    if let Ok(socket) = socket.into_std() {
        let waiting = std::iter::from_fn(|| socket.accept().ok()).take(TCP_BACKLOG);
        for (stream, peer) in waiting {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                take(&mut connections, stream, peer);
            }
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(farewell, all).await;
}
