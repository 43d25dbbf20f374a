use periplus_core::metrics::{Histogram, Registry};

/// From one millisecond to about 17 minutes, doubling, in seconds.
const BUCKETS: [f64; 20] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384, 32.768, 65.536, 131.072, 262.144, 524.288,
];

/// How long it takes until a change of endpoints can be seen in DNS.
#[derive(Clone)]
pub struct Metrics {
    pub(super) cluster_ip: Histogram,
    pub(super) headless: Histogram,
}

impl Metrics {
    /// The histograms of the process.
    pub fn new(registry: &Registry) -> Metrics {
        let of_kind = |kind| {
            registry.histogram(
                "coredns_kubernetes_dns_programming_duration_seconds",
                "Histogram of the time (in seconds) it took to program a dns instance.",
                &BUCKETS,
                &[("service_kind", kind)],
            )
        };
        Metrics { cluster_ip: of_kind("cluster_ip"), headless: of_kind("headless_with_selector") }
    }
}
