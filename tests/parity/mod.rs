//! The same questions to CoreDNS and to Periplus, with the same Corefile, API server and upstream.
//!
//! Runs where `COREDNS_BIN` names a CoreDNS binary and etcd and kube-apiserver are there. Differences that are wanted stand in
//! `differences.rs`; any other one fails with both answers printed. With `PERIPLUS_BIN` another program takes Periplus's place: a
//! second CoreDNS shows what the comparison itself is worth.

mod compare;
mod differences;
mod log_lines;
mod metrics;
mod questions;
mod variants;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use compare::difference;
use differences::KNOWN;
use questions::Question;
use variants::Variant;

use crate::support::client::{connect, read, wait_for_page};
use crate::support::cluster::{objects, parse};
use crate::support::peer::{Peer, coredns};
use crate::support::real_api_server::RealApiServer;
use crate::support::server::free_port;
use crate::support::upstream::Upstream;
use crate::support::wire::Wire;

/// How many unknown differences are shown in full.
const SHOWN: usize = 25;
/// An answer that has not come by then will not come; if only one server is silent, it is asked again with more patience.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(4);

#[test]
fn every_answer_is_that_of_coredns_but_for_the_known_differences_or_is_skipped() {
    let Some(binary) = coredns("the comparison with CoreDNS") else { return };
    let Some(api) = RealApiServer::shared("the comparison with CoreDNS") else { return };
    let subject = std::env::var_os("PERIPLUS_BIN").map(PathBuf::from);
    api.fill();
    let here = objects_of_this_machine();
    for object in &here {
        api.api.create(object);
    }
    let objects = [objects(), here].concat();
    let mut seen = vec![0; KNOWN.len()];
    let (mut asked, mut unknown) = (0, Vec::new());
    let wanted = std::env::var("PARITY_VARIANT").unwrap_or_default();
    for variant in variants::all().into_iter().filter(|variant| variant.name.contains(&wanted)) {
        let upstream = Upstream::start();
        let questions = questions::all(&variant, &objects);
        let ours = subject.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_periplus")));
        let mut pair = [&binary, ours]
            .map(|binary| Server::start(binary, &variant, &api.kubeconfig, upstream.address));
        asked += questions.len();
        for question in &questions {
            unknown.extend(compare(&variant, question, &mut pair, &mut seen));
        }
    }
    eprintln!("{asked} questions asked of both; {} unknown differences", unknown.len());
    assert!(unknown.is_empty(), "{}", report(&unknown));
    if subject.is_none() && wanted.is_empty() {
        let mut gone = Vec::new();
        for (known, seen) in KNOWN.iter().zip(seen) {
            eprintln!("{seen:6} times: row {}", known.row);
            gone.extend((seen == 0).then_some(known.row));
        }
        assert!(
            gone.is_empty(),
            "rows {gone:?} of DIFFERENCES.md occur no longer: take them off the page and the list"
        );
    }
}

#[test]
fn every_known_difference_is_told_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("DIFFERENCES.md");
    let page = std::fs::read_to_string(page).unwrap_or_default();
    for known in KNOWN {
        let told = [format!("\n| {} |", known.row), format!("\n| {} *F* |", known.row)];
        assert!(
            told.iter().any(|row| page.contains(row)),
            "DIFFERENCES.md has no row {}",
            known.row
        );
    }
}

/// A difference that nobody has explained.
struct Unknown {
    variant: &'static str,
    reason: String,
    text: String,
}

fn compare(
    variant: &Variant,
    question: &Question,
    pair: &mut [Server; 2],
    seen: &mut [usize],
) -> Option<Unknown> {
    let mut answers = ask(question, pair, [SHORT, SHORT]);
    // A busy machine may be the reason for one server's silence.
    if answers[0].is_none() != answers[1].is_none() {
        let patience = [0, 1].map(|index| if answers[index].is_none() { LONG } else { SHORT });
        answers = ask(question, pair, patience);
    }
    let [theirs, ours] = &answers;
    let reason = difference(theirs.as_deref(), ours.as_deref(), variant.is_cached())?;
    let parsed = [theirs, ours].map(|answer| answer.as_deref().and_then(Wire::parse));
    let shows = |ours: &Wire| {
        KNOWN.iter().position(|known| (known.shows)(question, parsed[0].as_ref(), ours))
    };
    let known = parsed[1].as_ref().and_then(shows);
    if let Some(index) = known {
        seen[index] += 1;
        return None;
    }
    let show = |index: usize| match (&answers[index], &parsed[index]) {
        (None, _) => "  no answer\n".to_owned(),
        (Some(bytes), None) => format!("  {}\n", hexadecimal(bytes)),
        (Some(_), Some(wire)) => wire.to_string(),
    };
    let text = format!(
        "{}: {}: {reason}\n{}\n CoreDNS:\n{} Periplus:\n{}",
        variant.name,
        question.what,
        hexadecimal(&question.message),
        show(0),
        show(1)
    );
    Some(Unknown { variant: variant.name, reason, text })
}

/// Asks both at the same time.
fn ask(
    question: &Question,
    pair: &mut [Server; 2],
    patience: [Duration; 2],
) -> [Option<Vec<u8>>; 2] {
    for server in pair.iter_mut() {
        server.send(question);
    }
    [0, 1].map(|index| pair[index].receive(question, patience[index]))
}

fn report(unknown: &[Unknown]) -> String {
    let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for one in unknown {
        *kinds.entry((one.variant, one.reason.as_str())).or_default() += 1;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|((variant, reason), count)| format!("{count:6} {variant}: {reason}"))
        .collect();
    // Some of each kind.
    let mut shown: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut texts = Vec::new();
    for one in unknown {
        let count = shown.entry((one.variant, one.reason.as_str())).or_default();
        *count += 1;
        if *count <= 6 {
            texts.push(one.text.as_str());
        }
    }
    texts.truncate(SHOWN);
    let all: Vec<&str> = unknown.iter().map(|one| one.text.as_str()).collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differences.txt");
    std::fs::write(&file, all.join("\n")).expect("a file can be written");
    let (kinds, texts) = (kinds.join("\n"), texts.join("\n"));
    format!("{} differences:\n{kinds}\n\n{texts}\nAll of them: {}", unknown.len(), file.display())
}

/// A running server and the sockets to ask it with.
struct Server {
    peer: Peer,
    socket: UdpSocket,
    stream: Option<TcpStream>,
}

impl Server {
    fn start(binary: &Path, variant: &Variant, kubeconfig: &str, upstream: SocketAddr) -> Server {
        let ready = free_port();
        let corefile = variant
            .corefile
            .replace("SOURCE", "kubeconfig DIR/kubeconfig")
            .replace("UPSTREAM", &upstream.to_string())
            .replace("READY", &ready.to_string());
        let mut peer = Peer::start(binary, &corefile, &[("kubeconfig", kubeconfig)]);
        peer.wait_for("synced.invalid.cluster.local", &[0, 3]);
        wait_for_page(ready, "/ready");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        socket.connect(peer.address).expect("a loopback address");
        Server { peer, socket, stream: None }
    }

    fn send(&mut self, question: &Question) {
        if !question.tcp {
            self.socket.send(&question.message).expect("loopback takes a datagram");
        }
    }

    fn receive(&mut self, question: &Question, patience: Duration) -> Option<Vec<u8>> {
        if question.tcp {
            return self.ask_over_tcp(question, patience);
        }
        self.socket.set_read_timeout(Some(patience)).expect("a time-out can be set");
        let mut answer = vec![0; 65535];
        // A late answer to an earlier question has another id.
        loop {
            let length = self.socket.recv(&mut answer).ok()?;
            if answer[..2.min(length)] == question.message[..2.min(question.message.len())] {
                answer.truncate(length);
                return Some(answer);
            }
        }
    }

    fn ask_over_tcp(&mut self, question: &Question, patience: Duration) -> Option<Vec<u8>> {
        // The server may have closed an idle connection: then a fresh one decides.
        for _ in 0..2 {
            let fresh = self.stream.is_none();
            let mut stream = self.stream.take().unwrap_or_else(|| connect(self.peer.address));
            stream.set_read_timeout(Some(patience)).expect("a time-out can be set");
            let length =
                u16::try_from(question.message.len()).expect("a message of DNS").to_be_bytes();
            let sent = stream.write_all(&[&length[..], &question.message].concat());
            let answer = sent.ok().and_then(|()| read(&mut stream));
            if answer.is_some() {
                self.stream = Some(stream);
                return answer;
            }
            if fresh {
                return None;
            }
        }
        None
    }
}

/// A DNS service whose endpoints are this machine: it is what NS records name.
fn objects_of_this_machine() -> Vec<serde_json::Value> {
    let addresses = ["192.0.2.1:9", "[2001:db8::1]:9"].iter().filter_map(|target| {
        let unspecified = if target.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(unspecified).ok()?;
        socket.connect(target).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    let mut text =
        String::from("service kube-system/dns-here 10.96.0.11,fd00:10:96::b dns:53/UDP\n");
    for address in addresses.filter(|address| !address.is_loopback() && !address.is_unspecified()) {
        let family = if matches!(address, IpAddr::V4(_)) { "IPv4" } else { "IPv6" };
        text.push_str(&format!(
            "slice kube-system/dns-here-{} dns-here {family} dns:53/UDP | {address}\n",
            family.to_lowercase()
        ));
    }
    parse(&text)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().take(200).map(|byte| format!("{byte:02x}")).collect()
}
