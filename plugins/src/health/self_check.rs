use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use periplus_core::corefile::print_go_duration;
use periplus_core::metrics::{Counter, Histogram, Registry, SLIM_DURATION_BUCKETS};
use periplus_core::setup::HttpAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

pub(super) const PATH: &str = "/health";
/// Time between two checks.
const PERIOD: Duration = Duration::from_secs(1);
/// A check that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A check that takes longer is worth a warning.
const SLOW: Duration = Duration::from_secs(1);

/// Asks for the page from within, as a kubelet does from outside: how long that takes tells how overloaded the process is.
pub(super) struct SelfCheck {
    host: HttpAddress,
    address: SocketAddr,
    pub(super) period: Duration,
    duration: Histogram,
    failures: Counter,
}

impl SelfCheck {
    pub(super) fn new(host: &HttpAddress, registry: &Registry) -> SelfCheck {
        let mut address = host.socket_address();
        // A listener on all addresses takes IPv4 whether or not the machine has IPv6.
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        SelfCheck {
            host: host.clone(),
            address,
            period: PERIOD,
            duration: registry.histogram(
                "coredns_health_request_duration_seconds",
                "Histogram of the time (in seconds) each request took.",
                &SLIM_DURATION_BUCKETS,
                &[],
            ),
            failures: registry.counter(
                "coredns_health_request_failures_total",
                "The number of times the health check failed.",
                &[],
            ),
        }
    }

    /// Checks until the instance stops.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.period, self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let checks = async {
            loop {
                ticks.tick().await;
                self.check().await;
            }
        };
        tokio::select! {
            () = checks => {}
            () = stop.cancelled() => {}
        }
    }

    async fn check(&self) {
        let start = Instant::now();
        let result = timeout(TIMEOUT, self.request()).await;
        let elapsed = start.elapsed();
        self.duration.observe(elapsed.as_secs_f64());
        let url = format_args!("http://{}{PATH}", self.host);
        match result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Err(error) => {
                self.failures.add(1);
                tracing::warn!("plugin/health: Local health request to \"{url}\" failed: {error}");
            }
            Ok(()) if elapsed > SLOW => {
                let elapsed = print_go_duration(elapsed);
                tracing::warn!(
                    "plugin/health: Local health request to \"{url}\" took more than 1s: {elapsed}"
                );
            }
            Ok(()) => {}
        }
    }

    async fn request(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request =
            format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0_u8; 12];
        stream.read_exact(&mut status).await?;
        if status == *b"HTTP/1.1 200" {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1 200"))
    }
}
