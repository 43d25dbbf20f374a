//! What a stanza of `forward` says, as values that cannot be wrong, and the constants behind its defaults.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use periplus_core::codes::Rcode;
use periplus_core::name::{Name, NameRef};
use periplus_core::zone::Zones;

use super::policy::Policy;

/// Most TO words of a stanza; a file counts once, however many servers it names (CoreDNS).
pub(super) const MOST_DESTINATIONS: usize = 15;
/// When all attempts are over, from when the client's question was received, however many names are looked up for it. CoreDNS stops
/// *beginning* attempts for one name after 5 s; stub resolvers give up after 5 s and ask again, so that an answer, even SERVFAIL, is of
/// use only before that.
pub(super) const TOTAL: Duration = Duration::from_millis(4500);
/// With less time than this nobody is asked: hardly any answer would come.
pub(super) const LEAST_TIME: Duration = Duration::from_millis(100);
/// An upstream that is silent for so long is probed, however much longer `read_timeout` is: one that is longer than all attempts may take
/// would never be over.
pub(super) const ENOUGH: Duration = Duration::from_millis(TOTAL.as_millis() as u64 / 2);
/// The least time to wait for a TCP connection, whatever `read_timeout` says (CoreDNS's shortest dial timeout).
pub(super) const LEAST_DIAL: Duration = Duration::from_secs(1);
/// How long a health probe waits (CoreDNS).
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest pause between two probes; CoreDNS takes `health_check 0s` for no pause at all.
pub(super) const LEAST_PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// How old a connection gets: so long a virtual address in front of several servers takes it to the same one. A UDP socket, whose port can
/// be guessed at for so long, gets no older whatever `max_age` says.
pub(super) const MOST_AGE: Duration = Duration::from_secs(30);
/// How often idle connections are looked through (CoreDNS).
pub(super) const SWEEP: Duration = Duration::from_secs(10);
/// Attempts per upstream and question unless `max_connect_attempts` says otherwise (CoreDNS).
pub(super) const ATTEMPTS_PER_UPSTREAM: u32 = 2;

/// How long an upstream is waited for before another one is asked as well, unless `hedge_after` says otherwise. A resolver that has to ask
/// others needs 20 to 100 ms for most names; nobody notices the rest of this.
pub(super) const HEDGE_AFTER: Duration = Duration::from_millis(150);
/// The same with `policy sequential`, where the others' answers wait for the first one anyway.
pub(super) const HEDGE_AFTER_SEQUENTIAL: Duration = Duration::from_millis(400);
/// The least time that an upstream has with `policy sequential` before the answer of a later one counts.
pub(super) const LEAST_HEAD_START: Duration = Duration::from_secs(1);
/// Attempts for one question that wait at the same time.
pub(super) const MOST_AT_ONCE: usize = 3;
/// Questions in a row for which an upstream let its time pass before it is taken for dead until a probe says otherwise.
pub(super) const MOST_LATE: u32 = 3;

/// One stanza.
#[derive(Debug)]
pub(super) struct Settings {
    /// FROM.
    pub(super) from: Name,
    /// `except`.
    pub(super) except: Zones,
    /// How upstreams are asked.
    pub(super) protocol: Protocol,
    /// `expire`: how long a connection may lie idle.
    pub(super) expire: Duration,
    /// `max_age`: how old a connection may get; `None` without limit.
    pub(super) max_age: Option<Duration>,
    /// `max_idle_conns`: idle connections kept per upstream and protocol; `None` without limit.
    pub(super) max_idle: Option<usize>,
    /// `read_timeout`: how long to wait for an upstream's answer.
    pub(super) read_timeout: Duration,
    /// `max_fails`: an upstream is down after more failed probes than this; 0 switches probing off.
    pub(super) max_fails: u32,
    /// `health_check`.
    pub(super) probe: Probe,
    /// `max_connect_attempts`: failed attempts per question; `None` is twice the number of upstreams, 0 without limit.
    pub(super) max_attempts: Option<u32>,
    /// `policy`.
    pub(super) policy: Policy,
    /// `max_concurrent`: questions that may wait at the same time; 0 without limit.
    pub(super) max_concurrent: usize,
    /// `next`: response codes that hand the question on to the next stanza.
    pub(super) next: Vec<Rcode>,
    /// `next_on_nodata`.
    pub(super) next_on_nodata: bool,
    /// `failover`: response codes that make the next upstream be tried.
    pub(super) failover: Failover,
    /// `hedge_after`: how long an upstream is waited for before another one is asked as well; `None`: as long as `read_timeout`.
    pub(super) hedge_after: Option<Duration>,
    /// `randomize_case`: questions over UDP are spelled at random.
    pub(super) randomize_case: bool,
    /// `failfast_all_unhealthy_upstreams`.
    pub(super) failfast: bool,
    /// `resolver`: who is asked for the addresses of host names; empty means the system.
    pub(super) resolver: Vec<SocketAddr>,
    /// `source_address`.
    pub(super) source: Option<IpAddr>,
}

impl Settings {
    /// CoreDNS's defaults for a stanza.
    pub(super) fn new(from: Name) -> Settings {
        Settings {
            from,
            except: Zones::default(),
            protocol: Protocol::AsAsked,
            expire: Duration::from_secs(10),
            max_age: None,
            max_idle: None,
            read_timeout: Duration::from_secs(2),
            max_fails: 2,
            probe: Probe {
                interval: Duration::from_millis(500),
                recursion: true,
                domain: Name::root(),
            },
            max_attempts: None,
            policy: Policy::Random,
            max_concurrent: 0,
            next: Vec::new(),
            next_on_nodata: false,
            failover: Failover::Default,
            hedge_after: Some(HEDGE_AFTER),
            randomize_case: false,
            failfast: false,
            resolver: Vec::new(),
            source: None,
        }
    }

    /// Whether questions about `name` are this stanza's. FROM itself always is, even if `except` names it.
    pub(super) fn covers(&self, name: NameRef<'_>) -> bool {
        match name.zone_offset(self.from.as_ref()) {
            None => false,
            Some(0) => true,
            Some(_) => !self.except.contains(name),
        }
    }

    /// Whether an answer with this code makes the next one of `count` upstreams be asked.
    pub(super) fn fails_over(&self, rcode: Rcode, count: usize) -> bool {
        match &self.failover {
            Failover::Default => {
                rcode == Rcode::SERVFAIL && count > 1 && !self.next.contains(&rcode)
            }
            Failover::Listed(codes) => codes.contains(&rcode),
        }
    }

    /// How long an upstream that is preferred may be silent before the answer of a later one counts. One that has not failed by then
    /// fails after `read_timeout` at the latest, which is what CoreDNS waits for.
    pub(super) fn head_start(&self) -> Duration {
        LEAST_HEAD_START.max(self.read_timeout / 2)
    }

    /// Whether some answer of an upstream may hand the question on to the next stanza.
    pub(super) fn hands_on(&self) -> bool {
        !self.next.is_empty() || self.next_on_nodata
    }
}

/// `failover`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failover {
    /// After SERVFAIL the others are asked, each once at the most, unless `next` says what to do with it.
    Default,
    /// After these codes the next upstream is asked, as CoreDNS does it.
    Listed(Vec<Rcode>),
}

/// How upstreams are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// As the client asked us.
    AsAsked,
    /// `prefer_udp`: UDP, and TCP when the answer was truncated.
    UdpFirst,
    /// `force_tcp`, which wins over `prefer_udp`.
    Tcp,
}

/// How an upstream that failed is probed.
#[derive(Debug)]
pub(super) struct Probe {
    /// Pause between two probes.
    pub(super) interval: Duration,
    /// Whether probes have RD set (not with `no_rec`).
    pub(super) recursion: bool,
    /// Whose NS records are asked for.
    pub(super) domain: Name,
}
