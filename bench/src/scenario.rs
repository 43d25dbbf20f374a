//! What is asked of the servers.

use std::net::Ipv4Addr;

use clap::ValueEnum;

use crate::Result;
use crate::cluster::{Cluster, Pod, Service};
use crate::question::{A, AAAA, PTR, Question, Questions, SRV};

/// Questions that are asked again and again, in an order that does not change.
const DISTINCT: usize = 8192;
const NXDOMAIN: u8 = 3;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A of services with a cluster address
    A,
    /// 55 % A, 20 % AAAA (NODATA), 20 % search-list names that do not exist, 5 % SRV
    Mix,
    /// A of a headless service with 3 endpoints
    #[value(name = "headless-3")]
    Headless3,
    /// A of a headless service with 300 endpoints: cut, with TC
    #[value(name = "headless-300")]
    Headless300,
    /// The same over TCP
    #[value(name = "headless-3-tcp")]
    Headless3Tcp,
    /// The same over TCP, complete
    #[value(name = "headless-300-tcp")]
    Headless300Tcp,
    /// PTR of cluster addresses
    Ptr,
    /// Names outside the cluster, in the cache
    CacheHit,
    /// Names outside the cluster, each asked for the first time
    Miss,
    /// 10,000 identical questions at once, not in the cache, upstream takes a second
    Stampede,
    /// The cluster mix with `log` on
    Log,
    /// The cluster mix with `top` on: only Periplus has that
    Top,
    /// A over one TCP connection, pipelined
    Tcp,
    /// Start with 10,000 services and 30,000 endpoints, then A
    Large,
    /// The same with 50,000 Pods and `pods verified`: start, then A of Pods and services
    Pods,
    /// 150,000 endpoints, all listed again and again while questions go on
    Relist,
    /// 1,000 EndpointSlices change every second
    Churn,
    /// Two workers against one
    Workers,
}

impl Scenario {
    /// Its name on the command line and in results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it is, in one line.
    pub(crate) fn title(self) -> String {
        let help =
            self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Its cluster.
    pub(crate) fn cluster(self) -> Cluster {
        match self {
            Scenario::Large => Cluster::new(10_000),
            Scenario::Pods => Cluster::new(10_000).with_pods(50_000),
            Scenario::Relist => Cluster::with_endpoints(10_000, 15),
            Scenario::Churn => Cluster::new(1_000).with_changing(500),
            _ => Cluster::new(1_000),
        }
    }

    /// Whether the latency of answers is measured in the usual way: over UDP, with nothing else going on.
    pub(crate) fn has_latency(self) -> bool {
        !self.is_tcp() && !matches!(self, Scenario::Relist | Scenario::Churn | Scenario::Workers)
    }

    /// Whether it is about the start.
    pub(crate) fn starts(self) -> bool {
        matches!(self, Scenario::Large | Scenario::Pods | Scenario::Relist)
    }

    /// Whether questions go over TCP.
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self, Scenario::Headless3Tcp | Scenario::Headless300Tcp | Scenario::Tcp)
    }

    /// What the configuration has beside kubeadm's directives.
    pub(crate) fn directive(self) -> Option<&'static str> {
        match self {
            Scenario::Log => Some("log"),
            Scenario::Top => Some("top"),
            _ => None,
        }
    }

    /// Whether each question makes the server ask the upstream, which shares the load's CPU.
    pub(crate) fn needs_upstream(self) -> bool {
        matches!(self, Scenario::Miss | Scenario::Stampede)
    }

    /// The questions and what is expected of the answers.
    pub(crate) fn questions(self, cluster: &Cluster) -> Result<Questions> {
        let mut random = fastrand::Rng::with_seed(53);
        let services: Vec<&Service> = cluster.numbered().collect();
        let mut fixed = |make: &dyn Fn(&mut fastrand::Rng, &Service) -> Result<Question>| {
            let question = |_| {
                let service = services[random.usize(..services.len())];
                make(&mut random, service)
            };
            (0..DISTINCT).map(question).collect::<Result<Vec<_>>>().map(Questions::Fixed)
        };
        match self {
            Scenario::A | Scenario::Tcp | Scenario::Large => fixed(&|_, service| address(service)),
            Scenario::Relist | Scenario::Churn | Scenario::Workers => {
                fixed(&|_, service| address(service))
            }
            Scenario::Pods => fixed(&|random, service| pod(random, service, &cluster.pods)),
            Scenario::Mix | Scenario::Log | Scenario::Top => fixed(&mix),
            Scenario::Headless3 | Scenario::Headless3Tcp => headless(cluster, "three", false),
            Scenario::Headless300 => headless(cluster, "many", true),
            Scenario::Headless300Tcp => headless(cluster, "many", false),
            Scenario::Ptr => fixed(&|_, service| pointer(service)),
            Scenario::CacheHit => fixed(&|random, _| {
                let name = format!("host-{}.example.org.", random.u8(..200));
                Question::address(&name, &[Ipv4Addr::new(192, 0, 2, 1)])
            }),
            Scenario::Miss => Questions::fresh("miss.test.", 0),
            Scenario::Stampede => Questions::fresh(crate::upstream::SLOW, 0),
        }
    }
}

fn address(service: &Service) -> Result<Question> {
    Question::address(&service.domain(), &service.address.into_iter().collect::<Vec<_>>())
}

fn pointer(service: &Service) -> Result<Question> {
    let [a, b, c, d] = service.address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    Question::new(&format!("{d}.{c}.{b}.{a}.in-addr.arpa."), PTR, 0, 1)
}

fn headless(cluster: &Cluster, name: &str, truncated: bool) -> Result<Questions> {
    let service = cluster.headless(name).ok_or("the cluster has no such headless service")?;
    let mut question = Question::address(&service.domain(), &service.endpoints)?;
    question.expected.truncated = truncated;
    Ok(Questions::Fixed(vec![question]))
}

/// Half Pods that are there, a quarter addresses that no Pod of the namespace has, a quarter services.
fn pod(random: &mut fastrand::Rng, service: &Service, pods: &[Pod]) -> Result<Question> {
    match (random.u8(..4), pods.get(random.usize(..pods.len().max(1)))) {
        (0 | 1, Some(pod)) => Question::address(&pod.domain(), &[pod.address]),
        (2, _) => {
            let address = Ipv4Addr::new(10, 199, random.u8(..), random.u8(..));
            Question::new(&Pod::domain_of(address, &service.namespace), A, NXDOMAIN, 0)
        }
        _ => address(service),
    }
}

/// One question of the cluster mix.
fn mix(random: &mut fastrand::Rng, service: &Service) -> Result<Question> {
    match random.u8(..100) {
        0..55 => address(service),
        55..75 => Question::new(&service.domain(), AAAA, 0, 0),
        75..95 => {
            // What ndots:5 and the three search domains make of a name before it is asked as it stands.
            let host = format!("api-{}.example.com", random.u8(..100));
            let search = [
                &format!("{}.svc.cluster.local.", service.namespace),
                "svc.cluster.local.",
                "cluster.local.",
            ];
            Question::new(&format!("{host}.{}", search[random.usize(..3)]), A, NXDOMAIN, 0)
        }
        _ => Question::new(&format!("_http._tcp.{}", service.domain()), SRV, 0, 1),
    }
}
