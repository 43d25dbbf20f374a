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
    /// Names that it knows beside those that all are asked for.
    pub names: &'static [&'static str],
}

/// kubeadm's with `log`.
pub fn logged() -> Variant {
    let corefile = KUBEADM.replace("    errors\n", "    errors\n    log\n");
    Variant { name: "log", depth: Depth::Detailed, corefile, names: &[] }
}

/// kubeadm's with *hosts*, another block, and metrics at a port.
pub fn measured(port: u16) -> Variant {
    let hosts = "    hosts {\n        192.0.2.10 www.example.com\n        fallthrough\n    }\n";
    let metrics = format!("    prometheus 127.0.0.1:{port}\n");
    let main = KUBEADM.replace("    prometheus 127.0.0.1:HTTP1\n", &format!("{hosts}{metrics}"));
    let other = "company.example:PORT upstream.company.example:PORT";
    let corefile = format!("{main}{other} {{\n{metrics}    forward . UPSTREAM\n}}\n");
    Variant { name: "metrics", depth: Depth::Names, corefile, names: &[] }
}

pub fn all() -> Vec<Variant> {
    let mut variants: Vec<Variant> = WHOLE
        .iter()
        .map(|(name, depth, corefile, names)| {
            let corefile = corefile.replace("CLUSTER", CLUSTER);
            Variant { name, depth: *depth, corefile, names }
        })
        .collect();
    variants.extend(OPTIONS.iter().map(|(name, depth, zones, options)| {
        let corefile =
            PLAIN.replace("ZONES", zones).replace("OPTIONS", &options.replace("; ", "\n        "));
        Variant { name, depth: *depth, corefile, names: &[] }
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

/// What the blocks below have in common.
const CLUSTER: &str = "kubernetes cluster.local in-addr.arpa ip6.arpa {
        SOURCE
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }";

/// Own hosts, zones that go elsewhere, and one name that the cluster has as well: what platforms add for their users. Nothing that is kept ends
/// while it is asked for.
const STUB_DOMAINS: &str = ".:PORT {
    errors
    ready 127.0.0.1:READY
    hosts {
        192.0.2.10 www.example.com Alias.Example.com
        2001:db8::10 www.example.com
        192.0.2.11 till.shop.svc.cluster.local
        192.0.2.12 10.in-addr.arpa
        10.96.1.1 gateway.example.com
        ttl 60
        fallthrough
    }
    CLUSTER
    forward . UPSTREAM {
        except example.net company.example
        max_concurrent 1000
    }
    cache 300
    loadbalance round_robin
}
upstream.test:PORT alias2.upstream.test:PORT {
    errors
    cache 60 {
        success 5000 300 5
        denial 5000 300 1
    }
    forward upstream.test UPSTREAM {
        prefer_udp
    }
    loadbalance
}
company.example:PORT {
    hosts {
        198.51.100.1 vpn.company.example
        no_reverse
    }
}
office.svc.cluster.local:PORT 100.51.198.in-addr.arpa:PORT {
    errors
    hosts {
        198.51.100.2 printer.office.svc.cluster.local
        fallthrough 100.51.198.in-addr.arpa
    }
    CLUSTER
}
";

/// Names under which services were known before, and what else platforms rewrite.
const REWRITES: &str = ".:PORT {
    errors
    ready 127.0.0.1:READY
    rewrite stop {
        name regex (.*)\\.internal {1}.svc.cluster.local
        answer name (.*)\\.svc\\.cluster\\.local {1}.internal
    }
    rewrite name exact old.example.com till.shop.svc.cluster.local
    rewrite name suffix .corp.test .upstream.test answer auto
    rewrite name prefix legacy- \"\" answer auto
    rewrite continue name substring .typo. .shop.
    rewrite stop type MX A
    rewrite class CH IN
    rewrite ttl suffix .upstream.test 20-40
    rewrite ttl exact kubernetes.default.svc.cluster.local 7
    rewrite rcode regex .*\\.servfail\\.test SERVFAIL NXDOMAIN
    rewrite edns0 local set 0xffee 0x61626364
    CLUSTER
    forward . UPSTREAM
    loadbalance
}
";

/// Each block for its own zones, and nothing for the root: what a second DNS server of a cluster has.
const ZONES_ALONE: &str = "(common) {
    errors
    loadbalance
}
cluster.local:PORT {
    import common
    ready 127.0.0.1:READY
    kubernetes {
        SOURCE
        pods verified
        ttl 15
    }
    cache {
        success 9984 3600 0
        denial 9984 1800 0
    }
}
10.96.0.0/16:PORT fd00:10:96::/112:PORT 172.16.0.0/12:PORT {
    import common
    kubernetes cluster.local 10.96.0.0/16 fd00:10:96::/112 172.16.0.0/12 {
        SOURCE
        fallthrough
    }
    hosts {
        10.96.200.1 one.example.com
        172.16.200.1 two.example.com
    }
}
Upstream.TEST:PORT {
    import common
    rewrite name suffix .upstream.test .UPSTREAM.test answer auto
    forward . UPSTREAM {
        force_tcp
        except nx.upstream.test
    }
}
shop.svc.cluster.local.upstream.test:PORT . {
    import common
    hosts {
        192.0.2.30 till.shop.svc.cluster.local.upstream.test one.example.com
    }
}
";

/// Two zones of one cluster, asked through another name, and the upstream for what the cluster does not know.
const TWO_ZONES: &str = ".:PORT {
    errors
    ready 127.0.0.1:READY
    rewrite name suffix .cluster.example .cluster.local answer auto
    kubernetes cluster.local k8s.example 10.0.0.0/8 172.16.0.0/12 fd00::/8 {
        SOURCE
        pods insecure
        endpoint_pod_names
        fallthrough k8s.example 172.16.0.0/12
        ttl 0
    }
    forward example UPSTREAM
    forward upstream.test UPSTREAM
    hosts {
        192.0.2.20 till.shop.svc.k8s.example missing.shop.svc.k8s.example
        192.0.2.21 x.example
        192.0.2.22 missing.shop.svc.cluster.local
        fallthrough
    }
    loadbalance
}
";

/// Whole Corefiles: name, depth, text, names.
const WHOLE: &[(&str, Depth, &str, &[&str])] = &[
    ("kubeadm", Depth::Detailed, KUBEADM, &[]),
    (
        "stub domains and hosts",
        Depth::Detailed,
        STUB_DOMAINS,
        &[
            "www.example.com.",
            "alias.example.com.",
            "gateway.example.com.",
            "x.www.example.com.",
            "example.com.",
            "www.example.net.",
            "company.example.",
            "vpn.company.example.",
            "x.company.example.",
            "printer.office.svc.cluster.local.",
            "1.100.51.198.in-addr.arpa.",
            "2.100.51.198.in-addr.arpa.",
            "3.100.51.198.in-addr.arpa.",
            "100.51.198.in-addr.arpa.",
            "10.2.0.192.in-addr.arpa.",
            "12.2.0.192.in-addr.arpa.",
            "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
        ],
    ),
    (
        "rewrites",
        Depth::Detailed,
        REWRITES,
        &[
            "till.shop.internal.",
            "TILL.Shop.Internal.",
            "_http._tcp.h-dual.shop.internal.",
            "h-many.shop.internal.",
            "e-www.shop.internal.",
            "missing.shop.internal.",
            "internal.",
            "old.example.com.",
            "x.old.example.com.",
            "www.corp.test.",
            "alias2.corp.test.",
            "big.corp.test.",
            "nx.corp.test.",
            "corp.test.",
            "legacy-www.upstream.test.",
            "legacy-till.shop.svc.cluster.local.",
            "LEGACY-till.shop.svc.cluster.local.",
            "till.typo.svc.cluster.local.",
            "kubernetes.default.svc.cluster.local.",
        ],
    ),
    (
        "zones alone",
        Depth::Detailed,
        ZONES_ALONE,
        &[
            "till.shop.svc.cluster.local.upstream.test.",
            "one.example.com.",
            "1.200.96.10.in-addr.arpa.",
            "1.200.16.172.in-addr.arpa.",
            "shop.svc.cluster.local.upstream.test.",
            "nx.upstream.test.",
            "WWW.upstream.TEST.",
            "97.10.in-addr.arpa.",
            "1.1.97.10.in-addr.arpa.",
            "16.172.in-addr.arpa.",
            "1.2.16.172.in-addr.arpa.",
            "1.2.32.172.in-addr.arpa.",
            "6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.",
        ],
    ),
    (
        "two zones",
        Depth::Detailed,
        TWO_ZONES,
        &[
            "k8s.example.",
            "example.",
            "x.example.",
            "svc.k8s.example.",
            "ns.dns.k8s.example.",
            "dns-version.k8s.example.",
            "till.shop.svc.k8s.example.",
            "TILL.shop.svc.K8S.example.",
            "missing.shop.svc.k8s.example.",
            "nothing.shop.svc.k8s.example.",
            "_http._tcp.h-dual.shop.svc.k8s.example.",
            "e-www.shop.svc.k8s.example.",
            "e-big.shop.svc.k8s.example.",
            "1-2-3-4.shop.pod.k8s.example.",
            "till.shop.svc.cluster.example.",
            "_http._tcp.h-dual.shop.svc.cluster.example.",
            "e-www.shop.svc.cluster.example.",
            "missing.shop.svc.cluster.example.",
            "ns.dns.cluster.example.",
            "cluster.example.",
        ],
    ),
];

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
