//! The plugin's metric.

use periplus_core::metrics::{Gauge, Registry};

/// Whether what is forwarded in a zone comes back: 1 while a loop is known, otherwise 0.
pub(super) fn detected(registry: &Registry, zone: &str) -> Gauge {
    registry.gauge(
        "periplus_loop_detected",
        "Whether a forwarding loop is known, and forwarding is stopped because of it.",
        &[("zone", zone)],
    )
}
