//! Upstreams in trouble, and strangers who would like to be one: what clients notice of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::client::{answers as records, ask, question, udp};
use crate::support::cluster::{built_in_namespaces, manifest, objects};
use crate::support::done::Done;
use crate::support::fake::{Fake, answers, fails, says_nothing};
use crate::support::server::TestServer;

/// Longer than any answer takes that is not lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long before `read_timeout`, long after `hedge_after`.
const SOON: Duration = Duration::from_secs(1);
/// Nobody is asked once more, and nobody given up, because the machine stands still for a moment.
const PATIENT: &str = "hedge_after 0s\nread_timeout 30s";
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;

/// The response code, and how long it took.
type Seen = (u8, Duration);

fn corefile(upstreams: &[Fake], options: &str) -> String {
    let all: Vec<String> = upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
    format!(".:PORT {{\n    forward . {} {{\n{options}\n    }}\n}}\n", all.join(" "))
}

/// Asks for so many names, with so many questions under way at a time. Each has to be answered.
fn load(server: SocketAddr, count: usize, window: usize) -> Vec<Seen> {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    client.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    let mut begun: HashMap<u16, Instant> = HashMap::new();
    let mut seen = Vec::new();
    let mut names = 0..count;
    let mut buffer = [0; 512];
    while seen.len() < count {
        while begun.len() < window
            && let Some(number) = names.next()
        {
            let id = number as u16;
            let name = format!("n{number}.example.test");
            begun.insert(id, Instant::now());
            client.send_to(&question(id, &name, 1, None), server).expect("loopback takes it");
        }
        client.recv(&mut buffer).expect("every question is answered");
        let id = u16::from_be_bytes([buffer[0], buffer[1]]);
        let begun = begun.remove(&id).expect("each is answered once");
        seen.push((buffer[3] & 0x0f, begun.elapsed()));
    }
    seen
}

fn codes(seen: &[Seen]) -> BTreeMap<u8, usize> {
    let mut codes = BTreeMap::new();
    seen.iter().for_each(|(code, _)| *codes.entry(*code).or_default() += 1);
    codes
}

/// Whether there is an extended error (RFC 8914) with the code 22.
fn says_no_reachable_authority(answer: &[u8]) -> bool {
    answer.windows(6).any(|bytes| bytes[..2] == [0, 15] && bytes[4..] == [0, 22])
}

/// The time that 99 of 100 questions do not exceed.
fn p99(seen: &[Seen]) -> Duration {
    let mut times: Vec<Duration> = seen.iter().map(|(_, time)| *time).collect();
    times.sort();
    times[times.len() * 99 / 100]
}

fn metric(server: &mut TestServer, beginning: &str) -> f64 {
    let text = server.program().metrics().expose();
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn nobody_notices_one_of_three_that_says_nothing() {
    // When the machine stands still for a second, that is the time of all questions under way, and counts for nothing.
    let begun = Instant::now();
    while !is_one_that_says_nothing_unnoticed() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is noticed each time");
    }
}

fn is_one_that_says_nothing_unnoticed() -> bool {
    let upstreams = [(); 3].map(|()| Fake::answering());
    let mut server = TestServer::start(&corefile(&upstreams, ""));
    let calm = load(server.address, 1000, 50);
    assert_eq!(codes(&calm), [(NOERROR, 1000)].into());
    upstreams[0].becomes(says_nothing);
    upstreams[0].asked();
    let troubled = load(server.address, 1000, 50);
    assert_eq!(codes(&troubled), [(NOERROR, 1000)].into());
    let (before, after) = (p99(&calm), p99(&troubled));
    println!("p99 {before:?}, with one dead {after:?}");
    if after >= before + SOON {
        return false;
    }
    // What was under way when it fell silent, and perhaps a few more: after that it is asked last.
    let lost = upstreams[0].asked().iter().filter(|asked| asked.qtype == 1).count();
    assert!((1..200).contains(&lost), "{lost}");
    assert!(metric(&mut server, "periplus_forward_hedged_requests_total") >= 1.0);
    true
}

#[test]
fn the_preferred_one_that_says_nothing_is_soon_left_alone() {
    let upstreams = [Fake::start(says_nothing), Fake::answering()];
    let server = TestServer::start(&corefile(&upstreams, "policy sequential"));
    assert_eq!(codes(&load(server.address, 1000, 50)), [(NOERROR, 1000)].into());
    // What was under way until three had waited in vain.
    let lost = upstreams[0].asked().iter().filter(|asked| asked.qtype == 1).count();
    assert!((1..200).contains(&lost), "{lost}");
}

#[test]
fn nobody_notices_one_that_only_says_servfail() {
    let upstreams = [(); 3].map(|()| Fake::answering());
    upstreams[0].becomes(fails);
    let server = TestServer::start(&corefile(&upstreams, PATIENT));
    assert_eq!(codes(&load(server.address, 600, 20)), [(NOERROR, 600)].into());
    // One question in three begins with it.
    assert!(upstreams[0].asked().len() > 130);
    upstreams[1..].iter().for_each(|upstream| {
        upstream.becomes(fails);
        upstream.asked();
    });
    assert_eq!(codes(&load(server.address, 100, 20)), [(SERVFAIL, 100)].into());
    let sent = upstreams.each_ref().map(|upstream| upstream.asked().len());
    assert_eq!(sent, [100, 100, 100], "each is asked once");
}

#[test]
fn servers_that_are_all_down_are_left_alone_and_found_again() {
    let upstreams = [(); 2].map(|()| Fake::start(says_nothing));
    let mut server = TestServer::start(&corefile(&upstreams, "read_timeout 30s"));
    let broken = "coredns_forward_healthcheck_broken_total";
    let begun = Instant::now();
    // Three probes of a second each have to fail.
    while metric(&mut server, broken) == 0.0 {
        load(server.address, 1, 1);
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody is found to be down");
    }
    upstreams.iter().for_each(|upstream| drop(upstream.asked()));
    let begun = Instant::now();
    let (mut asked, mut sent) = (0, [0; 2]);
    while begun.elapsed() < Duration::from_secs(4) || sent.contains(&0) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{sent:?}");
        let seen = load(server.address, 20, 10);
        asked += seen.len();
        assert_eq!(codes(&seen), [(SERVFAIL, 20)].into());
        sent.iter_mut().zip(&upstreams).for_each(|(sent, one)| *sent += one.asked().len());
    }
    let took = begun.elapsed();
    for sent in sent {
        // One every 0.5 s is what `health_check` says.
        let most = took.as_millis() / 500 + 1;
        println!("{sent} of {asked} questions in {took:?}");
        assert!((1..=most as usize).contains(&sent), "{sent} in {took:?}");
    }
    let answer = udp(server.address, &question(1, "x.test", 1, Some(1232))).expect("an answer");
    assert!(says_no_reachable_authority(&answer));

    upstreams.iter().for_each(|upstream| upstream.becomes(answers));
    let begun = Instant::now();
    while load(server.address, 1, 1)[0].0 != NOERROR {
        assert!(begun.elapsed() < PATIENCE, "nobody is found alive");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("found alive after {:?}", begun.elapsed());
    assert_eq!(codes(&load(server.address, 100, 10)), [(NOERROR, 100)].into());
}

#[test]
fn ids_and_ports_follow_no_order() {
    let upstream = [Fake::answering()];
    let server = TestServer::start(&corefile(&upstream, ""));
    load(server.address, 4000, 8);
    let asked = upstream[0].asked();
    let ids: HashSet<u16> = asked.iter().map(|asked| asked.id).collect();
    // 4000 draws from 65,536 give about 3880 different ones.
    assert!(ids.len() > 3700, "{} ids", ids.len());
    let pairs = || asked.windows(2).map(|pair| (pair[0].id, pair[1].id));
    let rises = pairs().filter(|(one, two)| one < two).count();
    assert!((1700..2300).contains(&rises), "{rises} of 4000 are greater than the one before");
    let near = pairs().filter(|(one, two)| one.abs_diff(*two) < 16).count();
    assert!(near < 40, "{near} of 4000 are next to the one before");

    let mut uses: HashMap<u16, usize> = HashMap::new();
    asked.iter().for_each(|asked| *uses.entry(asked.port).or_default() += 1);
    // The system draws a port again for one of fifty sockets in 4 of 100 runs.
    assert!(uses.values().all(|uses| *uses <= 200), "{uses:?}");
    assert!(uses.values().filter(|uses| **uses > 100).count() <= 2, "{uses:?}");
    let mut ports: Vec<u16> = Vec::new();
    for asked in &asked {
        if !ports.contains(&asked.port) {
            ports.push(asked.port);
        }
    }
    assert!(ports.len() >= 40, "{} ports", ports.len());
    let rises = ports.windows(2).filter(|pair| pair[0] < pair[1]).count();
    let (least, most) = (ports.len() / 5, ports.len() * 4 / 5);
    assert!((least..most).contains(&rises), "{rises} rises among {} ports", ports.len());
    let near = ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 4).count();
    assert!(near <= 4, "{near} ports are next to the one before");
}

#[test]
fn what_is_not_the_answer_is_passed_over() {
    // Another id, another name, another type, noise, too little, a question: then the answer.
    let upstream = [Fake::start(|request, from| {
        let right = answers(request, from).remove(0);
        let change = |at: usize| {
            let mut lie = right.clone();
            lie[at] ^= 1;
            *lie.last_mut().expect("an address") = 66;
            lie
        };
        let qtype = right.len() - 16 - 3;
        let noise = [&right[..2], &[0xff; 40]].concat();
        vec![
            change(1),
            change(13),
            change(qtype),
            noise,
            right[..11].to_vec(),
            right[..right.len() - 1].to_vec(),
            request.to_vec(),
            right,
        ]
    })];
    for options in ["", "randomize_case"] {
        let server = TestServer::start(&corefile(&upstream, &format!("{PATIENT}\n{options}")));
        for number in 0..50 {
            let message = ask(server.address, &format!("wWw.n{number}.test"), 1);
            assert_eq!(records(&message), [format!("wWw.n{number}.test. 60 IN A 192.0.2.1")]);
        }
        assert_eq!(upstream[0].asked().len(), 50, "one attempt each");
    }
}

#[test]
fn letters_of_questions_are_upper_and_lower_case_at_random_where_that_is_wanted() {
    let upstream = [Fake::answering()];
    let options = "randomize_case\nread_timeout 30s";
    let server = TestServer::start(&corefile(&upstream, options));
    let name = "wWw.a-long-name.Example.TEST";
    for _ in 0..20 {
        let message = ask(server.address, name, 1);
        assert_eq!(records(&message), [format!("{name}. 60 IN A 192.0.2.1")]);
    }
    let spellings: HashSet<Vec<u8>> =
        upstream[0].asked().into_iter().map(|asked| asked.name).collect();
    assert!(spellings.len() >= 19, "{spellings:?}");

    // A server that does not copy the question is told apart from one that does not answer.
    upstream[0].becomes(|request, from| {
        let lower = request.to_ascii_lowercase();
        let mut answer = answers(&lower, from).remove(0);
        answer[..2].copy_from_slice(&request[..2]);
        vec![answer]
    });
    let answer = udp(server.address, &question(1, name, 1, Some(1232))).expect("an answer");
    assert_eq!(answer[3] & 0x0f, SERVFAIL);
    let text = b"which 'randomize_case' needs";
    assert!(answer.windows(text.len()).any(|bytes| bytes == text));
}

#[test]
fn upstreams_that_are_added_get_their_share() {
    let upstreams = [(); 4].map(|()| Fake::answering());
    let mut server = TestServer::start(&corefile(&upstreams[..2], ""));
    let address = server.address;
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(codes(&load(address, 200, 20)), [(NOERROR, 200)].into());
                asked.fetch_add(200, Ordering::Relaxed);
            }
        });
        let _stop = Done(&done);
        let wait_for = |more: usize| {
            let (before, begun) = (asked.load(Ordering::Relaxed), Instant::now());
            while asked.load(Ordering::Relaxed) < before + more {
                assert!(begun.elapsed() < Duration::from_secs(60), "too slow");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_for(1000);
        assert!(upstreams[2..].iter().all(|upstream| upstream.asked().is_empty()));
        server.write_corefile(&corefile(&upstreams, ""));
        server.program().reload().expect("the file is good");
        // Those that came before the reload.
        wait_for(200);
        upstreams.iter().for_each(|upstream| drop(upstream.asked()));
        wait_for(10_000);
    });
    let counts = upstreams.each_ref().map(|upstream| upstream.asked().len());
    let all: usize = counts.iter().sum();
    for count in counts {
        // Ten percent more or less than a quarter of 10,000, which by chance has a standard deviation of 43.
        assert!((all * 9..=all * 11).contains(&(count * 40)), "{counts:?}");
    }
}

#[test]
fn servers_added_behind_a_virtual_address_get_their_share() {
    // As kube-proxy does: a flow, which is a source port, stays with its server as long as it lives.
    #[derive(Default)]
    struct Relay {
        servers: usize,
        flows: HashMap<u16, usize>,
        counts: [usize; 4],
    }
    let relay = Arc::new(Mutex::new(Relay { servers: 2, ..Relay::default() }));
    let own = Arc::clone(&relay);
    let virtual_address = [Fake::start(move |request, from| {
        let mut relay = own.lock().expect("no panic");
        let next = relay.flows.len() % relay.servers;
        let server = *relay.flows.entry(from.port()).or_insert(next);
        relay.counts[server] += 1;
        answers(request, from)
    })];
    let server = TestServer::start(&corefile(&virtual_address, ""));
    load(server.address, 1000, 8);
    {
        let mut relay = relay.lock().expect("no panic");
        assert_eq!(relay.counts[2..], [0, 0]);
        relay.servers = 4;
    }
    // Sixteen sockets carry a hundred questions each, one of them at random at a time.
    load(server.address, 3000, 8);
    relay.lock().expect("no panic").counts = [0; 4];
    load(server.address, 24_000, 8);
    let counts = relay.lock().expect("no panic").counts;
    println!("{counts:?}");
    for count in counts {
        // Ten percent more or less than a quarter. Four sockets of each server have carried some of their questions before, and four
        // will carry some later, each so many by chance: together a standard deviation of 80.
        assert!((5400..=6600).contains(&count), "{counts:?}");
    }
}

#[test]
fn a_server_that_forwards_to_itself_answers_for_the_cluster_and_says_servfail_for_the_rest() {
    let cluster = manifest(&[built_in_namespaces(), objects()].concat());
    let mut server = TestServer::with_files(
        ".:PORT {
    bind 127.0.0.1
    kubernetes cluster.local {
        snapshot DIR/cluster.json
    }
    loop
    forward . 127.0.0.1:PORT
}
",
        &[("cluster.json", &cluster)],
    );
    let address = server.address;
    let in_cluster = || records(&ask(address, "till.shop.svc.cluster.local", 1));
    let begun = Instant::now();
    while metric(&mut server, "periplus_loop_detected") == 0.0 || in_cluster().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the loop is not found");
    }
    let mut times = Vec::new();
    for number in 0..100 {
        assert_eq!(in_cluster(), ["till.shop.svc.cluster.local. 5 IN A 10.96.1.1"]);
        let begun = Instant::now();
        let message = question(number, &format!("n{number}.example.test"), 1, Some(1232));
        let answer = udp(address, &message).expect("an answer");
        times.push(begun.elapsed());
        assert_eq!(answer[3] & 0x0f, SERVFAIL);
        assert!(says_no_reachable_authority(&answer));
        let text = b"forwarding loop detected";
        assert!(answer.windows(text.len()).any(|bytes| bytes == text));
    }
    times.sort();
    // Most of them: any single one may meet a busy machine.
    assert!(times[50] < Duration::from_millis(100), "{times:?}");
    assert_eq!(codes(&load(address, 200, 50)), [(SERVFAIL, 200)].into());
}
