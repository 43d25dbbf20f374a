//! A stream whose peer has to take what is written to it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A TCP stream on which what is flushed must be gone within a time. It ends however little of it is taken at a time: a peer that takes a
/// byte now and then would hold the answer for ever.
pub(super) struct Timely {
    stream: TcpStream,
    patience: Duration,
    /// When the peer must have taken all, while it has not.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timely {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Timely {
        Timely { stream, patience, deadline: None }
    }

    /// Whether the peer has not taken all that it was sent.
    pub(super) fn is_owed(&self) -> bool {
        self.deadline.is_some()
    }

    /// The kernel forgets what it could not send.
    pub(super) fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    fn write_within(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.stream), context) {
            return Poll::Ready(written);
        }
        let begin = || Box::pin(tokio::time::sleep(self.patience));
        let deadline = self.deadline.get_or_insert_with(begin);
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Timely {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Timely {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_within(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_within(context, |stream, context| stream.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Comes when all was written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// More than the kernel holds for both ends.
    const MUCH: usize = 64 << 20;

    async fn pair(patience: Duration) -> (Timely, TcpStream) {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), socket.accept());
        let (stream, _) = accepted.expect("a peer comes");
        (Timely::new(stream, patience), peer.expect("it listens"))
    }

    /// Reads until the end, and pauses after each piece.
    async fn take(mut peer: TcpStream, piece: usize, pause: Duration) {
        let mut bytes = vec![0; piece];
        while peer.read(&mut bytes).await.is_ok_and(|length| length > 0) {
            tokio::time::sleep(pause).await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_little_now_and_then_is_waited_for_only_so_long() {
        let (mut stream, peer) = pair(Duration::from_millis(200)).await;
        let taker = tokio::spawn(take(peer, 4096, Duration::from_millis(5)));
        let error = stream.write_all(&vec![0; MUCH]).await.expect_err("nobody takes it in time");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(stream.is_owed());
        taker.abort();
    }

    #[tokio::test]
    async fn nothing_is_owed_when_all_was_taken() {
        let (mut stream, peer) = pair(Duration::from_secs(60)).await;
        tokio::spawn(take(peer, 1 << 20, Duration::ZERO));
        stream.write_all(&vec![0; MUCH]).await.expect("it is taken");
        assert!(stream.is_owed(), "the peer kept it waiting");
        stream.flush().await.expect("it is taken");
        assert!(!stream.is_owed());
    }
}
