//! One upstream: its connections, and whether it is in health.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::Rcode;
use periplus_core::exchange::{Endpoint, Exchange, Fault, FaultKind, Times};
use periplus_core::metrics::Registry;
use periplus_core::reply::Reply;
use tokio::time::Instant;

use super::countdown::Countdown;
use super::error::{Cause, ExchangeError, Step};
use super::health::Health;
use super::message::{Asking, Expected, Mismatch, Request};
use super::metrics::UpstreamMetrics;
use super::patience::Patience;
use super::pool::{Limits, Made, Pool};
use super::settings::{HEDGE_AFTER, LEAST_DIAL, MOST_AGE, Settings};
use super::tcp::{self, TcpConnection};
use super::udp::UdpConnection;

/// A server that questions are forwarded to.
pub(super) struct Upstream {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// How it fares.
    pub(super) health: Health,
    /// How long it is waited for.
    pub(super) patience: Patience,
    /// Its metrics.
    pub(super) metrics: UpstreamMetrics,
    /// The stanza it belongs to.
    pub(super) settings: Arc<Settings>,
    endpoint: Arc<Endpoint>,
    /// For exchanges on threads that drive none themselves.
    udp: Pool<UdpConnection>,
    tcp: Pool<TcpConnection>,
}

/// The two ways to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

impl Upstream {
    /// An upstream that nothing is known of yet.
    pub(super) fn new(
        address: SocketAddr,
        settings: Arc<Settings>,
        registry: &Arc<Registry>,
    ) -> Upstream {
        let limits = Limits {
            expire: settings.expire,
            max_age: settings.max_age,
            max_idle: settings.max_idle,
        };
        let endpoint = Endpoint {
            remote: address,
            source: settings.source,
            expire: limits.expire,
            max_age: limits.max_age,
            max_idle: limits.max_idle,
        };
        Upstream {
            address,
            endpoint: Arc::new(endpoint),
            health: Health::default(),
            patience: Patience::new(settings.hedge_after.unwrap_or(HEDGE_AFTER)),
            metrics: UpstreamMetrics::new(Arc::clone(registry), address.to_string()),
            settings,
            udp: Pool::new(limits.of_age(MOST_AGE)),
            tcp: Pool::new(Limits { max_age: limits.max_age.or(Some(MOST_AGE)), ..limits }),
        }
    }

    /// Takes note of an answer.
    pub(super) fn answered(&self, rcode: Rcode, took: Duration) {
        self.metrics.observe(rcode, took.as_secs_f64());
        self.patience.learn(took);
        self.health.answered();
    }

    /// Asks over UDP if this thread drives exchanges. Says also what the answer must look like.
    pub(super) fn start_here(
        &self,
        asking: &Asking,
        times: Times,
    ) -> Option<(Expected, Result<Exchange, Fault>)> {
        let request = asking.request(self.settings.randomize_case);
        let started = Exchange::start(&self.endpoint, request.datagram(), times)?;
        if let Ok(exchange) = &started {
            let pool = &self.metrics.udp;
            if exchange.reused { &pool.hits } else { &pool.misses }.add(1);
        }
        Some((request.into_expected(), started))
    }

    /// Asks over UDP with a socket of its own.
    pub(super) async fn over_udp(
        &self,
        asking: &Asking,
        now: Instant,
        end: Instant,
    ) -> Result<Reply, ExchangeError> {
        let mut countdown = Countdown::new(end);
        countdown.allow(now, self.settings.read_timeout);
        let request = asking.request(self.settings.randomize_case);
        let mut other_case = false;
        let accept = |message: &[u8]| match request.expected().read(message, &asking.query) {
            Ok(reply) => Some(reply),
            Err(mismatch) => {
                other_case |= mismatch == Mismatch::Case;
                None
            }
        };
        let mut made = self.sent_over_udp(&request, now)?;
        let received = countdown.limit(made.connection.receive(accept)).await;
        match received.unwrap_or(Err(Cause::Timeout)) {
            Ok(response) => {
                if made.connection.is_reusable() {
                    self.udp.give(made, Instant::now().into_std());
                }
                Ok(response)
            }
            Err(cause) => {
                let cause = if other_case { Cause::OtherCase } else { cause };
                Err(self.failed("udp", made.connection.local(), Step::Read, cause))
            }
        }
    }

    /// What a fault of an exchange on this thread means. `other_case`: there were answers in other letters.
    pub(super) fn faulty(&self, Fault { kind, local }: Fault, other_case: bool) -> ExchangeError {
        let (step, cause) = match kind {
            FaultKind::Open(error) => (Step::Open, Cause::Io(error)),
            FaultKind::Connect(error) => (Step::Dial, Cause::Io(error)),
            FaultKind::Send(error) => (Step::Write, Cause::Io(error)),
            FaultKind::Receive(error) => (Step::Read, Cause::Io(error)),
            _ if other_case => (Step::Read, Cause::OtherCase),
            FaultKind::TimedOut => (Step::Read, Cause::Timeout),
            FaultKind::Moved => (Step::Read, Cause::GivenUp),
            FaultKind::ManyWrongAnswers => (Step::Read, Cause::ManyWrongAnswers),
        };
        self.failed("udp", local, step, cause)
    }

    fn sent_over_udp(
        &self,
        request: &Request,
        now: Instant,
    ) -> Result<Made<UdpConnection>, ExchangeError> {
        while let Some(mut made) = self.udp.take(now.into_std()) {
            if made.connection.reuse(request.datagram()) {
                self.metrics.udp.hits.add(1);
                return Ok(made);
            }
        }
        self.metrics.udp.misses.add(1);
        let connection =
            UdpConnection::open(self.address, self.settings.source, request.datagram())
                .map_err(|(step, cause)| self.failed("udp", None, step, cause))?;
        Ok(self.udp.made(connection, now.into_std()))
    }

    /// Asks over TCP, where nobody who is not on the way can answer: the client's spelling will do.
    pub(super) async fn over_tcp(
        &self,
        asking: &Asking,
        end: Instant,
    ) -> Result<Reply, ExchangeError> {
        let mut countdown = Countdown::new(end);
        let request = asking.request(false);
        let mut accept = |message: &[u8]| request.expected().read(message, &asking.query).ok();
        let mut may_be_stale = true;
        loop {
            let (mut made, reused) = self.connected(&mut countdown, may_be_stale).await?;
            countdown.allow(Instant::now(), self.settings.read_timeout);
            let exchange = made.connection.exchange(request.framed(), request.id(), &mut accept);
            match countdown.limit(exchange).await.unwrap_or(Err((Step::Read, Cause::Timeout))) {
                Ok(response) => {
                    self.tcp.give(made, Instant::now().into_std());
                    return Ok(response);
                }
                // The upstream closed the idle connection while we wrote: no failure of its, so again on a new one.
                Err((_, cause)) if reused && tcp::is_closed(&cause) => may_be_stale = false,
                Err((step, cause)) => {
                    return Err(self.failed("tcp", made.connection.local(), step, cause));
                }
            }
        }
    }

    async fn connected(
        &self,
        countdown: &mut Countdown,
        may_be_stale: bool,
    ) -> Result<(Made<TcpConnection>, bool), ExchangeError> {
        let now = Instant::now();
        let idle = || self.tcp.take(now.into_std());
        while may_be_stale && let Some(made) = idle() {
            if made.connection.is_quiet() {
                self.metrics.tcp.hits.add(1);
                return Ok((made, true));
            }
        }
        self.metrics.tcp.misses.add(1);
        countdown.allow(now, self.settings.read_timeout.max(LEAST_DIAL));
        let opened = countdown.limit(TcpConnection::open(self.address, self.settings.source)).await;
        match opened.unwrap_or(Err((Step::Dial, Cause::Timeout))) {
            Ok(connection) => Ok((self.tcp.made(connection, now.into_std()), false)),
            Err((step, cause)) => Err(self.failed("tcp", None, step, cause)),
        }
    }

    /// Closes connections that may not be used any more.
    pub(super) fn sweep(&self) {
        let now = Instant::now().into_std();
        self.udp.sweep(now);
        self.tcp.sweep(now);
    }

    fn failed(
        &self,
        network: &'static str,
        local: Option<SocketAddr>,
        step: Step,
        cause: Cause,
    ) -> ExchangeError {
        ExchangeError { step, network, local, remote: self.address, cause }
    }
}

/// An exchange on a connection of its own that is closed afterwards: what a probe or a single look-up does.
pub(super) async fn exchange_once<T>(
    remote: SocketAddr,
    source: Option<IpAddr>,
    request: &Request,
    over: Over,
    limit: Duration,
    mut accept: impl FnMut(&[u8]) -> Option<T>,
) -> Result<T, ExchangeError> {
    let exchange = async {
        match over {
            Over::Udp => {
                let mut connection = UdpConnection::open(remote, source, request.datagram())?;
                connection.receive(&mut accept).await.map_err(|cause| (Step::Read, cause))
            }
            Over::Tcp => {
                let mut connection = TcpConnection::open(remote, source).await?;
                connection.exchange(request.framed(), request.id(), &mut accept).await
            }
        }
    };
    let done = tokio::time::timeout(limit, exchange).await;
    done.unwrap_or(Err((Step::Read, Cause::Timeout))).map_err(|(step, cause)| {
        let network = if over == Over::Udp { "udp" } else { "tcp" };
        ExchangeError { step, network, local: None, remote, cause }
    })
}
