//! Five hundred Corefiles that went wrong, put in force one after another: the server answers between any two of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use periplus::configuration::{self, Configuration, Surroundings};
use periplus::source::Source;
use periplus_core::metrics::Registry;
use periplus_core::output::Output;
use periplus_core::setup::BindAddress;

use crate::support::client::{question, udp};
use crate::support::ports::free_port;
use crate::support::server::{TestServer, fill_in};

const MUTANTS: u64 = 500;
/// Of them, those that may not run here, and are only read.
const ONLY_CHECKED: u64 = 100;
/// It takes seconds.
const MOST: Duration = Duration::from_secs(300);

/// Realistic ones. All listen on loopback and forward to a port that nobody listens on.
const COREFILES: [&str; 5] = [
    // kubeadm's.
    ".:PORT {
    bind 127.0.0.1
    errors
    health 127.0.0.1:HTTP1 {
       lameduck 5s
    }
    ready 127.0.0.1:HTTP2
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       snapshot DIR/cluster
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus 127.0.0.1:HTTP3
    forward . 127.0.0.1:9 {
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
",
    // Snippets, imports and a zone of a company.
    "(common) {
    bind 127.0.0.1
    errors {
        consolidate 1m \"^.*i/o timeout.*$\" warning
    }
    prometheus 127.0.0.1:HTTP3
    loadbalance round_robin
}
.:PORT {
    import common
    import DIR/hosts.conf
    health 127.0.0.1:HTTP1
    cache {
        success 5000 3600 5
        denial 2500 30
        prefetch 10 1m 10%
        serve_stale 1h immediate
    }
    forward . DIR/resolv.conf {
        except corp.test
        policy sequential
        max_fails 3
        expire 20s
    }
}
corp.test:PORT {
    import common
    forward . 127.0.0.1:9 127.0.0.2:9 {
        policy round_robin
        health_check 1s domain corp.test
    }
    cache 60 corp.test
    log . {
        class denial error
    }
}
",
    // Rewriting.
    "test:PORT 10.0.0.0/24:PORT {
    bind 127.0.0.1
    root DIR
    rewrite stop {
        name regex (.*)\\.old\\.test {1}.new.test answer auto
    }
    rewrite name exact a.test b.test
    rewrite ttl example.test 30-300
    rewrite edns0 local set 0xffee 0x61626364
    hosts hosts test {
        192.0.2.1 alive.test # inline
        ttl 60
        no_reverse
        reload 500ms
        fallthrough
    }
    whoami
    debug
}
",
    // Two ports.
    ".:PORT example.org:PORT2 {
    bind 127.0.0.1
    log . \"{remote} {name} {rcode}\" {
        class all
    }
    errors
    cancel 2s
    ready 127.0.0.1:HTTP2 {
        monitor continuously
    }
    hosts {
        192.0.2.9 alive.test alive.example.org
    }
    reload 2s 1s
}
",
    // Environment, quotes and comments.
    "# A comment \" with a quote
test{$PERIPLUS_NO_SUCH}:PORT test2:PORT {
    bind 127.0.0.1
    hosts {
        192.0.2.3   \"alive.test\"   two.test
        2001:db8::1 alive.test
        fallthrough
    }
    cache 10 {
        keepttl
    }
    whoami
}
",
];

/// Words that do harm somewhere.
const WORDS: [&str; 24] = [
    "{",
    "}",
    "{}",
    "\"",
    "\"\"",
    "#",
    "(x)",
    "import",
    "import x",
    "*",
    "..",
    ".",
    "-1",
    "0",
    "1h",
    "99999999999999999999999",
    "4294967296",
    "18446744073709551615s",
    "1e400",
    "{$NOTHING}",
    "\\",
    "\u{0}",
    "::1",
    "é",
];

fn mutate(text: &str, random: &mut Rng) -> Vec<u8> {
    let mut text = text.to_owned();
    for _ in 0..random.usize(1..4) {
        text = match random.u8(0..4) {
            0 => edited(text.split_inclusive('\n').map(str::to_owned).collect(), "\n", random),
            _ => edited(pieces(&text), random.choice(WORDS).expect("there are some"), random),
        };
    }
    let mut bytes = text.into_bytes();
    for _ in 0..random.usize(0..3).saturating_sub(1) {
        let at = random.usize(0..bytes.len() + 1);
        match random.u8(0..4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 if at < bytes.len() => bytes[at] = random.u8(..),
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes
}

/// Words and what stands between them.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for character in text.chars() {
        match pieces.last_mut() {
            Some(last) if last.ends_with(char::is_whitespace) == character.is_whitespace() => {
                last.push(character)
            }
            _ => pieces.push(character.into()),
        }
    }
    pieces
}

/// One piece deleted, doubled, moved, put in, or replaced.
fn edited(mut pieces: Vec<String>, word: &str, random: &mut Rng) -> String {
    if pieces.is_empty() {
        return word.to_owned();
    }
    let (one, other) = (random.usize(0..pieces.len()), random.usize(0..pieces.len()));
    match random.u8(0..6) {
        0 => drop(pieces.remove(one)),
        1 => pieces.insert(one, pieces[one].clone()),
        2 => pieces.swap(one, other),
        3 => pieces.insert(one, format!(" {word} ")),
        4 => pieces[one] = word.to_owned(),
        // A number becomes absurd.
        _ => {
            let number = pieces.iter().position(|piece| piece.parse::<u64>().is_ok());
            pieces[number.unwrap_or(one)] = word.to_owned();
        }
    }
    pieces.concat()
}

/// The lines that name an upstream.
fn upstreams(text: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| line.contains("forward"));
    lines.map(str::to_owned).collect()
}

/// Whether it may run here: on loopback at the ports that are ours, with no other upstream.
fn is_harmless(configuration: &Configuration, text: &[u8], base: &str, ports: &[u16]) -> bool {
    let listens = configuration.servers.keys().all(|address| {
        ports.contains(&address.port)
            && matches!(address.host, BindAddress::Address(IpAddr::V4(host), _) if host.is_loopback())
    });
    let pages = configuration.instance.pages.iter().all(|page| {
        page.address.host == "127.0.0.1" && base.contains(&format!("{}", page.address))
    });
    listens && pages && upstreams(text).is_subset(&upstreams(base.as_bytes()))
}

/// Whether a message says in which line of which file.
fn has_a_place(message: &str) -> bool {
    let is_place = |word: &str| {
        let mut parts = word.split(':');
        parts.any(|part| part.ends_with("Corefile") || part.ends_with(".conf"))
            && parts.next().is_some_and(|line| line.parse::<u32>().is_ok())
    };
    message.split_whitespace().any(is_place)
}

/// What the server does as seen from outside: where it listens, and what it answers there.
fn behaviour(server: &mut TestServer) -> Vec<String> {
    let mut seen = vec![format!("{:?}", server.program().zones())];
    seen.extend(server.program().admin_addresses().iter().map(|at| format!("{at:?}")));
    let addresses = server.program().dns_addresses();
    for (_, address) in addresses {
        for (name, qtype) in [("alive.test", 1), ("alive.example.org", 1), ("a.test", 28)] {
            let answer = udp(address, &question(7, name, qtype, None));
            let answer = answer.unwrap_or_else(|| panic!("{address} does not answer {name}"));
            // Code and counts of records; the rest may turn.
            seen.push(format!("{address} {name} {:02x?} {:02x?}", &answer[2..4], &answer[6..12]));
        }
    }
    seen
}

#[test]
fn five_hundred_broken_corefiles_leave_the_server_answering() {
    let second_port = free_port().to_string();
    let prepare = |text: &str| text.replace("PORT2", &second_port);
    let files = [
        ("hosts.conf", "hosts {\n    192.0.2.2 alive.test\n    fallthrough\n}\n"),
        ("hosts", "192.0.2.4 alive.test\n"),
        ("resolv.conf", "nameserver 127.0.0.1\n"),
    ];
    let mut server = TestServer::with_files(&prepare(COREFILES[3]), &files);
    let directory = server.directory.path().to_string_lossy().into_owned();
    std::fs::create_dir(server.directory.path().join("cluster")).expect("a folder can be made");
    let bases = COREFILES.map(|text| fill_in(&prepare(text), server.address.port(), &directory));
    let ports = [server.address.port(), second_port.parse().expect("a number")];
    let source = Source::File(server.corefile());
    let surroundings = Surroundings::new(
        periplus_plugins::ORDER,
        ports[0],
        server.directory.path().to_owned(),
        Arc::new(Registry::new(1)),
        Output::new(std::io::sink()),
    );
    let begun = Instant::now();
    let (mut in_force, mut refused, mut only_checked) = (0, 0, 0);
    let mut now = behaviour(&mut server);
    for seed in 0..MUTANTS {
        assert!(begun.elapsed() < MOST, "{seed} of {MUTANTS}");
        let base = &bases[seed as usize % bases.len()];
        let mutant = match seed < bases.len() as u64 {
            true => base.clone().into_bytes(),
            false => mutate(base, &mut Rng::with_seed(seed)),
        };
        let shown = || format!("seed {seed}:\n{}", String::from_utf8_lossy(&mutant));
        std::fs::write(server.corefile(), &mutant).expect("the Corefile can be written");
        match configuration::load(&source, &surroundings) {
            Ok((_, it)) if !is_harmless(&it, &mutant, base, &ports) => only_checked += 1,
            Err(failed) if !has_a_place(&failed.to_string()) => panic!("{failed}\n{}", shown()),
            _ => match server.reload() {
                Ok(()) => {
                    in_force += 1;
                    now = behaviour(&mut server);
                    assert!(now.len() > 1, "it listens nowhere: {}", shown());
                }
                Err(error) => {
                    refused += 1;
                    let text = error.to_string();
                    assert!(has_a_place(&text), "{text}\n{}", shown());
                    assert_eq!(behaviour(&mut server), now, "{text}\n{}", shown());
                }
            },
        }
        assert!(seed >= bases.len() as u64 || in_force == seed + 1, "{}", shown());
    }
    println!(
        "{in_force} in force, {refused} refused, {only_checked} only checked in {:?}",
        begun.elapsed()
    );
    assert!(in_force > 50 && refused > 50, "{in_force} in force, {refused} refused");
    assert!(only_checked <= ONLY_CHECKED, "{only_checked} were not put in force");
}
