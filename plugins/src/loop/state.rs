//! What the probing task and the queries tell each other.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwapOption;
use periplus_core::metrics::Gauge;
use periplus_core::name::{Name, NameRef};

/// A probe that comes back as often as this has gone round (CoreDNS: more than twice).
const LOOP: u32 = 3;

/// State of the plugin in one server block.
pub(super) struct State {
    /// First zone of the block.
    pub(super) zone: Name,
    /// The listen address as CoreDNS writes it, `:53` for the wildcard.
    pub(super) listener: String,
    /// Whether what is forwarded comes back.
    looping: AtomicBool,
    /// The probe that is under way.
    probe: ArcSwapOption<Probe>,
    /// `periplus_loop_detected`.
    gauge: Gauge,
}

/// One probe: a name that nobody can guess, so that nobody else can make it be seen.
pub(super) struct Probe {
    /// The name that is asked for.
    pub(super) name: Name,
    /// How often it came in since the last attempt began.
    seen: AtomicU32,
    /// Whether it ever came in.
    arrived: AtomicBool,
}

/// What a query for the probe's name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// Not the probe.
    None,
    /// The probe on its way in, once or twice: it goes on.
    Early,
    /// The probe has gone round. It must not go on.
    Loop,
}

impl State {
    /// Nothing is known yet.
    pub(super) fn new(zone: Name, listener: String, gauge: Gauge) -> State {
        State {
            zone,
            listener,
            looping: AtomicBool::new(false),
            probe: ArcSwapOption::empty(),
            gauge,
        }
    }

    /// Whether what is forwarded comes back.
    pub(super) fn is_looping(&self) -> bool {
        self.looping.load(Ordering::Relaxed)
    }

    /// The configuration is in use from now on; the metric may still be that of the one before.
    pub(super) fn start(&self) {
        self.gauge.set(0.0);
    }

    /// Begins a probe with this name.
    pub(super) fn begin(&self, name: Name) -> Arc<Probe> {
        let probe =
            Arc::new(Probe { name, seen: AtomicU32::new(0), arrived: AtomicBool::new(false) });
        self.probe.store(Some(Arc::clone(&probe)));
        probe
    }

    /// Ends the probe: its name means nothing any more.
    pub(super) fn end(&self) {
        self.probe.store(None);
    }

    /// Counts a query of type HINFO for `name` from `peer`.
    pub(super) fn saw(&self, name: NameRef<'_>, peer: SocketAddr) -> Sighting {
        let probe = self.probe.load();
        let Some(probe) = probe.as_ref().filter(|probe| probe.name.as_ref() == name) else {
            return Sighting::None;
        };
        probe.arrived.store(true, Ordering::Relaxed);
        if probe.seen.fetch_add(1, Ordering::Relaxed) + 1 < LOOP {
            return Sighting::Early;
        }
        self.set_looping(Some(Evidence { state: self, peer, probe: &probe.name }));
        Sighting::Loop
    }

    /// Takes note of a loop, or of its end, and says so once.
    fn set_looping(&self, evidence: Option<Evidence<'_>>) {
        let is_looping = evidence.is_some();
        if self.looping.swap(is_looping, Ordering::Relaxed) == is_looping {
            return;
        }
        self.gauge.set(f64::from(u8::from(is_looping)));
        match evidence {
            Some(evidence) => tracing::error!("plugin/loop: {evidence}"),
            None => tracing::info!("plugin/loop: the loop for zone \"{}\" is gone", self.zone),
        }
    }

    /// No loop was found where there might have been one.
    pub(super) fn clear(&self) {
        self.set_looping(None);
    }
}

impl Probe {
    /// Whether it has gone round.
    pub(super) fn is_loop(&self) -> bool {
        self.seen.load(Ordering::Relaxed) >= LOOP
    }

    /// Whether it ever came in.
    pub(super) fn has_arrived(&self) -> bool {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Starts counting anew: the last attempt got no answer.
    pub(super) fn forget(&self) {
        self.seen.store(0, Ordering::Relaxed);
    }
}

/// CoreDNS's sentence, which operators search for.
struct Evidence<'a> {
    state: &'a State,
    peer: SocketAddr,
    probe: &'a Name,
}

impl fmt::Display for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Loop ({} -> {}) detected for zone \"{}\", see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO {}\"",
            self.peer, self.state.listener, self.state.zone, self.probe
        )
    }
}
