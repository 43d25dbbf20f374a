//! The task that sends probes.
//!
//! At the start a probe is tried every second for half a minute, until one is answered: the server may need a moment, and so may
//! its upstreams. If a loop is found, a new probe goes out twice a minute until one is not seen again.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::RecordType;
use periplus_core::decode::message_id;
use periplus_core::name::{Name, NameBuf, NameRef};
use periplus_core::query::Query;
use periplus_core::random;
use periplus_core::request::encode_request;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use super::state::{Probe, State};

/// How the task takes its time; tests are in more of a hurry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long one exchange may take (CoreDNS's DNS client).
    pub(super) answer: Duration,
    /// Pause after an exchange that failed.
    pub(super) retry: Duration,
    /// How long a round of exchanges may take.
    pub(super) round: Duration,
    /// How long copies of an answered probe are still looked for.
    pub(super) grace: Duration,
    /// Pause between two rounds while a loop is known.
    pub(super) recheck: Duration,
}

/// CoreDNS's times, and half a minute between looks at a known loop.
pub(super) const PACE: Pace = Pace {
    answer: Duration::from_secs(2),
    retry: Duration::from_secs(1),
    round: Duration::from_secs(30),
    grace: Duration::from_secs(2),
    recheck: Duration::from_secs(30),
};

/// Probes until no loop is known.
pub(super) async fn watch(state: Arc<State>, address: SocketAddr, pace: Pace) {
    state.start();
    loop {
        // A name of its own for each round: a straggler of an earlier one does not count.
        let probe = state.begin(probe_name(state.zone.as_ref()));
        round(&probe, address, pace).await;
        state.end();
        // A probe that never came in says nothing: the server did not get it, or a plugin further out answered it.
        if probe.has_arrived() && !probe.is_loop() {
            state.clear();
        }
        if !state.is_looping() {
            return;
        }
        sleep(pace.recheck).await;
    }
}

/// Sends the probe until it is answered, goes round, or the time is up.
async fn round(probe: &Probe, address: SocketAddr, pace: Pace) {
    let end = Instant::now() + pace.round;
    while Instant::now() < end {
        let answered =
            matches!(timeout(pace.answer, exchange(&probe.name, address)).await, Ok(Ok(())));
        if probe.is_loop() {
            return;
        }
        if answered {
            sleep(pace.grace).await;
            return;
        }
        // Three attempts that all came in once are no loop.
        probe.forget();
        sleep(pace.retry).await;
    }
}

/// Asks for the name and waits for any response.
async fn exchange(name: &Name, address: SocketAddr) -> io::Result<()> {
    let unspecified: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(unspecified).await?;
    socket.connect(address).await?;
    let query = Query::internal(name.as_ref(), RecordType::HINFO);
    let mut request = Vec::new();
    let id = encode_request(&query, name.as_ref(), &mut request);
    socket.send(&request).await?;
    let mut response = [0; 512];
    loop {
        let length = socket.recv(&mut response).await?;
        if message_id(&response[..length]) == Some(id) {
            return Ok(());
        }
    }
}

/// `<random>.<random>.ZONE`, from a generator that cannot be predicted (CVE-2026-26018); shorter when the zone's name leaves no room.
fn probe_name(zone: NameRef<'_>) -> Name {
    let mut name = NameBuf::ROOT;
    for _ in 0..2 {
        let label = (random::number() >> 2).to_string();
        if name.as_ref().len() + 1 + label.len() + zone.len() > 256 {
            break;
        }
        // A number is shorter than a label may be.
        let _ = name.push_label(label.as_bytes());
    }
    let _ = name.push_name(zone);
    name.to_name()
}
