//! The configurations that both servers run.

/// How much is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every name and type, spellings, EDNS, header flags, TCP, malformed messages.
    Everything,
    /// The same with fewer types, and without messages that are malformed at random.
    Detailed,
    /// Every name with the types that have code of their own.
    Names,
}

impl Variant {
    /// Whether answers are kept.
    pub fn is_cached(&self) -> bool {
        self.corefile.contains("cache ")
    }
}

/// A Corefile in which `SOURCE`, `UPSTREAM` and `READY`, a port, are filled in, and what is asked of it.
pub struct Variant {
    pub name: &'static str,
    pub depth: Depth,
    pub corefile: String,
}

pub fn all() -> Vec<Variant> {
    let mut variants =
        vec![Variant { name: "kubeadm", depth: Depth::Detailed, corefile: KUBEADM.to_owned() }];
    variants.extend(OPTIONS.iter().map(|(name, depth, zones, options)| {
        let corefile =
            PLAIN.replace("ZONES", zones).replace("OPTIONS", &options.replace("; ", "\n        "));
        Variant { name, depth: *depth, corefile }
    }));
    variants
}

/// What kubeadm writes, on other ports.
const KUBEADM: &str = ".:PORT {
    errors
    health 127.0.0.1:HTTP0 {
        lameduck 1s
    }
    ready 127.0.0.1:READY
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        SOURCE
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus 127.0.0.1:HTTP1
    forward . UPSTREAM {
        max_concurrent 1000
    }
    cache 30 {
        disable success cluster.local
        disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

const PLAIN: &str = ".:PORT {
    errors
    ready 127.0.0.1:READY
    kubernetes ZONES {
        SOURCE
        OPTIONS
    }
    forward . UPSTREAM
}
";

const ZONES: &str = "cluster.local in-addr.arpa ip6.arpa";

/// Name, depth, zones, options of the `kubernetes` plugin.
const OPTIONS: &[(&str, Depth, &str, &str)] = &[
    (
        "no cache, no load balancing",
        Depth::Everything,
        ZONES,
        "pods insecure; fallthrough in-addr.arpa ip6.arpa",
    ),
    (
        "pods verified, names of pods",
        Depth::Names,
        ZONES,
        "pods verified; endpoint_pod_names; ttl 3600",
    ),
    ("two namespaces", Depth::Names, ZONES, "pods insecure; namespaces shop office; fallthrough"),
    (
        "labelled namespaces",
        Depth::Names,
        ZONES,
        "pods disabled; namespace_labels \"tier notin (hidden)\"; ttl 0",
    ),
    (
        "noendpoints",
        Depth::Names,
        "cluster.local 10.96.0.0/12",
        "noendpoints; pods insecure; ttl 0",
    ),
    ("reverse zones first", Depth::Names, "in-addr.arpa ip6.arpa cluster.local", "pods insecure"),
    (
        "empty services ignored",
        Depth::Names,
        ZONES,
        "ignore empty_service; fallthrough in-addr.arpa",
    ),
];
