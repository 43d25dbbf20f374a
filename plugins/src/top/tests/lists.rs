//! Queries in, what `/metrics` says out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::identity::Identities;
use periplus_core::metrics::{CellPool, Collected, Registry, claim_cell};
use periplus_core::name::{Name, NameBuf};
use periplus_core::query::Query;
use periplus_core::reply::Reply;
use periplus_core::server::Server;
use periplus_core::setup::Instance;

use crate::testing::{Tasks, ask, configure, delayed, eventually, query, run_tasks, scripted};
use crate::top::metrics::collect;
use crate::top::sample::{EXACT, ROW};
use crate::top::settings::Settings;
use crate::top::talkers::Talkers;
use crate::top::window::Kind;

/// A server with `top` and nothing but the lists on its page. What does not exist begins with `no`, what comes later with `later`.
struct Shown {
    server: Arc<Server>,
    instance: Instance,
    tasks: Tasks,
}

impl Shown {
    fn new(directive: &str) -> Shown {
        let mut configured = configure(".", directive).unwrap_or_else(|error| panic!("{error}"));
        let server = configured.server(vec![scripted(|query| {
            let mut reply = Reply::to(query, "scripted");
            let first = query.name().labels().next().unwrap_or_default().to_vec();
            if first.starts_with(b"no") {
                reply.rcode = Rcode::NXDOMAIN;
            }
            match first.starts_with(b"later") {
                true => delayed(reply.into(), Duration::from_millis(1)),
                false => reply.into(),
            }
        })]);
        let tasks = run_tasks(&mut configured.instance);
        let shown = Shown { server, instance: configured.instance, tasks };
        // Whatever else is there, the total is.
        let nothing = directive == "top 0";
        eventually("the lists are there", || nothing || shown.text().contains("_queries"));
        shown
    }

    fn ask(&self, name: &str, client: &str, times: usize) {
        let mut query = query(name, RecordType::A);
        query.peer = SocketAddr::new(client.parse().expect("an address"), 4711);
        (0..times).for_each(|_| drop(ask(&self.server, &query)));
    }

    fn text(&self) -> String {
        self.instance.metrics.expose()
    }

    fn lines(&self) -> Vec<String> {
        let text = self.text();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }
}

#[test]
fn the_loudest_come_first_and_internal_questions_do_not_count() {
    let shown = Shown::new("top 2");
    shown.ask("www.Example.org.", "10.0.0.1", 5);
    shown.ask("WWW.example.ORG.", "::ffff:10.0.0.1", 2);
    shown.ask("no.example.org.", "2001:db8::1", 4);
    shown.ask("later.example.org.", "10.0.0.3", 3);
    shown.ask("none.example.org.", "10.0.0.4", 1);
    let asked = query("x.", RecordType::A);
    let inner = asked.follow(crate::testing::name("target.test.").as_ref(), RecordType::A);
    (0..9).for_each(|_| drop(ask(&shown.server, inner.as_ref().expect("one lookup deep"))));
    assert_eq!(
        shown.lines(),
        [
            r#"periplus_top_clients{client="10.0.0.1"} 7"#,
            r#"periplus_top_clients{client="2001:db8::1"} 4"#,
            r#"periplus_top_names{name="www.example.org."} 7"#,
            r#"periplus_top_names{name="no.example.org."} 4"#,
            r#"periplus_top_nxdomain_names{name="no.example.org."} 4"#,
            r#"periplus_top_nxdomain_names{name="none.example.org."} 1"#,
            "periplus_top_nxdomain_queries 5",
            "periplus_top_queries 15",
        ]
    );
}

#[test]
fn the_metrics_are_those_of_the_readme() {
    let shown = Shown::new("top");
    shown.instance.identities.add(|holders| {
        holders.values_mut().for_each(|holder| holder.add(&"shop".into()));
    });
    shown.ask("no.test.", "10.0.0.1", 1);
    let text = shown.text();
    let types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected = [
        "periplus_top_clients",
        "periplus_top_names",
        "periplus_top_namespaces",
        "periplus_top_nxdomain_names",
        "periplus_top_nxdomain_queries",
        "periplus_top_queries",
    ];
    assert_eq!(types, expected.map(|name| format!("{name} gauge")));
    let readme = include_str!("../README.md");
    for name in expected {
        assert!(readme.contains(&format!("| `{name}` | gauge |")), "the README lacks {name}");
    }
}

#[test]
fn a_list_of_no_entries_is_not_there_and_with_the_instance_all_are_gone() {
    let shown = Shown::new("top 0 {\nnames 1\n}");
    shown.ask("no.test.", "10.0.0.1", 2);
    assert_eq!(
        shown.lines(),
        [r#"periplus_top_names{name="no.test."} 2"#, "periplus_top_queries 2"]
    );
    let registry = Arc::clone(&shown.instance.metrics);
    shown.tasks.stop();
    assert_eq!(registry.expose(), "");
    assert_eq!(Shown::new("top 0").text(), "");
}

#[test]
fn clients_are_shown_with_their_namespaces() {
    let shown = Shown::new("top 3");
    shown.instance.identities.add(|holders| {
        for (address, holder) in holders.iter_mut() {
            if let IpAddr::V4(address) = address {
                let namespaces: &[&str] = match address.octets() {
                    [10, 0, 0, _] => &["shop"],
                    [10, 0, 1, _] => &["web"],
                    // The host's network.
                    [192, ..] => &["web", "kube-system"],
                    _ => &[],
                };
                namespaces.iter().for_each(|&namespace| holder.add(&namespace.into()));
            }
        }
    });
    for (client, times) in
        [("192.0.2.1", 9), ("10.0.0.1", 6), ("10.0.1.1", 7), ("10.0.0.2", 5), ("172.16.0.1", 4)]
    {
        shown.ask("a.test.", client, times);
    }
    let lines = shown.lines();
    let expected = [
        r#"periplus_top_clients{client="192.0.2.1"} 9"#,
        r#"periplus_top_clients{client="10.0.1.1",namespace="web"} 7"#,
        r#"periplus_top_clients{client="10.0.0.1",namespace="shop"} 6"#,
        r#"periplus_top_names{name="a.test."} 31"#,
        r#"periplus_top_namespaces{namespace="shop"} 11"#,
        r#"periplus_top_namespaces{namespace="web"} 7"#,
        "periplus_top_nxdomain_queries 0",
        "periplus_top_queries 31",
    ];
    assert_eq!(lines, expected);
}

/// Names of any bytes: one label of what is asked for, up to the longest name there is.
fn hostile(random: &mut fastrand::Rng) -> Name {
    let mut name = NameBuf::ROOT;
    for _ in 0..random.usize(1..6) {
        let label: Vec<u8> = (0..random.usize(1..64)).map(|_| random.u8(..)).collect();
        let _ = name.push_label(&label);
    }
    name.to_name()
}

#[test]
fn a_hundred_series_at_most_whatever_ten_thousand_clients_ask() {
    let mut random = fastrand::Rng::with_seed(11);
    let shown = Shown::new("top 24 {\nwindow 10m\n}");
    let mut exact: HashMap<String, u64> = HashMap::new();
    shown.instance.identities.add(|holders| {
        for (address, holder) in holders.iter_mut() {
            holder.add(&format!("namespace-{address}").into());
        }
    });
    let mut query = query("x.", RecordType::A);
    for at in 0..30_000_u32 {
        let [.., high, low] = (at % 10_000).to_be_bytes();
        query.peer = SocketAddr::from(([10, 0, high, low], 1));
        query.set_name(hostile(&mut random).as_ref());
        if random.bool() {
            // Enough that come again to fill each list.
            let again = NameBuf::parse(&format!("no-{}.test", random.u8(..40)));
            query.set_name(again.expect("a name").as_ref());
        }
        if random.bool() {
            let mut name = NameBuf::ROOT;
            name.push_label(b"no\"\n\\ } 1\xff").expect("a short label");
            query.set_name(name.as_ref());
        }
        ask(&shown.server, &query);
        *exact.entry(query.name().to_string()).or_default() += 1;
    }
    let lines = shown.lines();
    assert!(lines.len() == 98, "{}", lines.len());
    for line in &lines {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<u64>().is_ok(), "{line}");
        assert!(series.starts_with("periplus_top_"), "{line}");
        // A backslash escapes a backslash, or a quotation mark within the quotes (the text format has no others but \n).
        let plain = series.replace(r"\\", "").replace("\\\"", "");
        assert!(!plain.contains('\\') && plain.is_ascii(), "{line}");
        assert_eq!(plain.matches('"').count(), 2 * plain.matches('=').count(), "{line}");
        // No name is shown that nobody asked for, nor more often than it was asked for.
        if let Some(name) =
            series.split_once("{name=\"").and_then(|(_, name)| name.strip_suffix("\"}"))
        {
            let name = name.replace("\\\"", "\"").replace(r"\\", r"\");
            let exact = exact.get(&name).copied().unwrap_or_default();
            assert!(value.parse::<u64>().is_ok_and(|value| value <= exact), "{line}: {exact}");
        }
    }
    let loud = r#"periplus_top_nxdomain_names{name="no\\\"\\010\\\\\\ }\\ 1\\255."} "#;
    let count = lines.iter().find_map(|line| line.strip_prefix(loud));
    let count: u64 = count.expect("the name asked for most").parse().expect("a number");
    assert!((14_000..16_000).contains(&count), "{count}");
}

/// Settings with lists of ten entries and windows of a hundred seconds.
const SETTINGS: Settings = Settings {
    window: Duration::from_secs(100),
    clients: 10,
    names: 10,
    nxdomain: 10,
    namespaces: 10,
};

/// What a family says at a time, by its first label's value.
fn family(
    talkers: &Talkers,
    identities: &Identities,
    family: &str,
    now: Instant,
) -> HashMap<String, u64> {
    let mut collected = Collected::default();
    collect(talkers, identities, now, &mut collected);
    collected
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix(family)?.strip_prefix("{"))
        .map(|line| {
            let (label, value) = line.split_once("} ").expect("a value");
            let name = label.split('"').nth(1).expect("a quoted value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn at(received: Instant, client: u32, name: &str) -> Query {
    let mut query = query(name, RecordType::A);
    query.received = received;
    let [a, b, c, d] = client.to_be_bytes();
    query.peer = SocketAddr::from(([a, b, c, d], 1));
    query
}

#[test]
fn the_window_before_counts_for_the_share_that_is_left_of_it() {
    let talkers = Talkers::new(SETTINGS, &Registry::new(1));
    let identities = Identities::default();
    let start = Instant::now();
    let after = |seconds: u64| start + Duration::from_secs(seconds);
    (0..1000).for_each(|_| talkers.count(&at(after(50), 1, "old.test."), false));
    (0..100).for_each(|_| talkers.count(&at(after(110), 1, "new.test."), false));
    let names = |seconds| {
        let names = family(&talkers, &identities, "periplus_top_names", after(seconds));
        ["old.test.", "new.test."].map(|name| names.get(name).copied().unwrap_or_default())
    };
    // Windows begin when the lists were made, a moment before `start`.
    let near = |found: [u64; 2], expected: [u64; 2]| {
        let close =
            found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 2);
        assert!(close, "{found:?}, not {expected:?}");
    };
    near(names(120), [800, 100]);
    near(names(150), [500, 100]);
    near(names(190), [100, 100]);
    near(names(250), [0, 50]);
    near(names(310), [0, 0]);
}

#[test]
fn what_all_workers_counted_is_within_one_percent_at_ten_thousand_clients() {
    const WORKERS: usize = 3;
    const EACH: u64 = 60_000;
    let registry = Registry::new(WORKERS);
    let pool = CellPool::new(WORKERS);
    let talkers = Talkers::new(SETTINGS, &registry);
    let received = Instant::now();
    let mut exact: HashMap<u32, u64> = HashMap::new();
    // Five clients of 4 % each, and 10,000 quiet ones in ten namespaces.
    let client = |random: &mut fastrand::Rng| match random.u32(..100) {
        part @ ..20 => 0x0a_ff_00_00 + part / 4,
        _ => 0x0a_00_00_00 + random.u32(..10_000),
    };
    for worker in 0..WORKERS as u64 {
        let mut random = fastrand::Rng::with_seed(worker);
        (0..EACH).for_each(|_| *exact.entry(client(&mut random)).or_default() += 1);
    }
    std::thread::scope(|scope| {
        for worker in 0..WORKERS as u64 {
            let (talkers, pool) = (&talkers, &pool);
            scope.spawn(move || {
                let _cell = claim_cell(pool);
                let mut random = fastrand::Rng::with_seed(worker);
                let mut query = at(received, 0, "a.test.");
                for _ in 0..EACH {
                    let [a, b, c, d] = client(&mut random).to_be_bytes();
                    query.peer = SocketAddr::from(([a, b, c, d], 1));
                    talkers.count(&query, false);
                }
            });
        }
    });
    let identities = Identities::default();
    identities.add(|holders| {
        for (address, holder) in holders.iter_mut() {
            let IpAddr::V4(address) = address else { continue };
            let [_, loud, _, last] = address.octets();
            let name = if loud == 255 { "loud".into() } else { format!("n{}", last % 10) };
            holder.add(&name.into());
        }
    });
    let now = received + Duration::from_millis(1);
    let total = WORKERS as u64 * EACH;
    let clients = family(&talkers, &identities, "periplus_top_clients", now);
    let exact = |client: u32| exact[&client];
    for number in 0..5 {
        let shown = clients[&format!("10.255.0.{number}")];
        let error = exact(0x0a_ff_00_00 + number).abs_diff(shown);
        assert!(error * 100 <= total, "client {number}: {shown}");
    }
    for (client, shown) in &clients {
        let IpAddr::V4(address) = client.parse().expect("an address") else { panic!("{client}") };
        let exact = exact(u32::from(address));
        assert!(*shown <= exact && (exact - shown) * 100 <= total, "{client}: {shown} of {exact}");
    }
    let namespaces = family(&talkers, &identities, "periplus_top_namespaces", now);
    assert_eq!(namespaces.len(), 10);
    let loud = namespaces["loud"];
    assert!(loud.abs_diff(total / 5) * 100 <= total, "{loud} of {total}");
    for name in (0..10).map(|number| format!("n{number}")) {
        // Ten of eleven are shown. They are estimated from three times 1,024 clients: a standard error of 0.5 % of all.
        let Some(shown) = namespaces.get(&name) else { continue };
        assert!(shown.abs_diff(total * 8 / 100) * 100 <= 3 * total, "{name}: {shown} of {total}");
    }
    assert!(talkers.memory().iter().all(|&bytes| bytes < 300 * 1000), "{:?}", talkers.memory());
    assert_eq!(talkers.memory().len(), WORKERS);
}

#[test]
fn of_a_flood_a_sample_is_counted_and_within_one_percent() {
    const QUERIES: u64 = 2 * EXACT + 3;
    for seed in 0..3 {
        // Which ones are drawn.
        fastrand::seed(seed);
        let talkers = Talkers::new(SETTINGS, &Registry::new(1));
        let received = Instant::now();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut query = at(received, 0, "a.test.");
        let mut exact: HashMap<String, u64> = HashMap::new();
        for number in 0..QUERIES {
            // Half of all, a tenth of all, one of each row as if it knew how long a row is, and 10,000 quiet ones.
            let client = match (number % ROW, random.u32(..10)) {
                (3, _) => 2,
                (_, ..5) => 0,
                (_, 5) => 1,
                _ => 3 + random.u32(..10_000),
            };
            let address = [10, 0, (client >> 8) as u8, client as u8];
            query.peer = SocketAddr::from((address, 1));
            *exact.entry(query.peer.ip().to_string()).or_default() += 1;
            talkers.count(&query, client == 1);
        }
        let now = received + Duration::from_millis(1);
        let identities = Identities::default();
        let clients = family(&talkers, &identities, "periplus_top_clients", now);
        for client in ["10.0.0.0", "10.0.0.1", "10.0.0.2"] {
            let (shown, exact) = (clients[client], exact[client]);
            assert!(shown.abs_diff(exact) * 100 <= QUERIES, "{client}: {shown}, not {exact}");
        }
        let denied = talkers.tally(Kind::Nxdomain, now).expect("a list").total() as u64;
        assert!(denied.abs_diff(exact["10.0.0.1"]) * 100 <= QUERIES, "{denied}");
        let total = talkers.tally(Kind::Clients, now).expect("a list").total() as u64;
        assert!(total.abs_diff(QUERIES) <= ROW, "{total} of {QUERIES}");
    }
}

#[test]
fn names_that_come_once_are_not_shown_as_those_whose_places_they_took() {
    let registry = Registry::new(1);
    let talkers = Talkers::new(SETTINGS, &registry);
    let received = Instant::now();
    (0..2_000).for_each(|number| {
        talkers.count(&at(received, 1, &format!("once-{number}.test.")), false);
    });
    let names = || {
        let now = received + Duration::from_millis(1);
        family(&talkers, &Identities::default(), "periplus_top_names", now)
    };
    assert_eq!(names(), HashMap::new());
    // One worker has seen it once and has nothing but its hash, another knows how it is spelled.
    let late = at(received, 1, "late.test.");
    talkers.count(&late, false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _cell = claim_cell(&CellPool::new(1));
            (0..50).for_each(|_| talkers.count(&late, false));
        });
    });
    assert_eq!(names(), HashMap::from([("late.test.".to_owned(), 51)]));
}
