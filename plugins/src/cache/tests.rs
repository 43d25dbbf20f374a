//! A cache between a client and a scripted end of the chain, on a clock that only moves when it is told to.

mod counted;
mod failing;
mod kept;
mod overloaded;
mod prefetched;
mod remembered;
mod served;
mod settings;
mod stale;
mod stored;
mod swept;
mod together;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use periplus_core::codes::{RecordType, edns_option};
use periplus_core::corefile::parse;
use periplus_core::edns::Edns;
use periplus_core::plugin::{Outcome, Plugin};
use periplus_core::query::{Query, Transport};
use periplus_core::reply::{Answer, Failure, FailureKind};
use periplus_core::server::Server;
use periplus_core::setup::{Instance, Setup};
use periplus_core::zone::Zones;

use super::handler::Cache;
use super::settings::Settings;
use super::shared::Shared;
use crate::testing::{self, RUNTIME, ask, configure, lines, scripted};

/// Text to settings; the block's own zone is the root.
fn settings(text: &str) -> Settings {
    let corefile = parse("Corefile", &format!(". {{\n{text}\n}}\n"), ".".as_ref());
    let corefile = corefile.unwrap_or_else(|_| panic!("not a Corefile: {text}"));
    let own = |zones: Vec<_>| match zones.is_empty() {
        true => Zones::new([periplus_core::name::Name::root()]),
        false => Zones::new(zones),
    };
    Settings::read(&corefile.blocks[0].directives[0], own).expect("valid options")
}

/// A server with a cache, its clock, and a record of what was asked further in.
struct World {
    server: Arc<Server>,
    shared: Arc<Shared>,
    instance: Instance,
    now: Arc<Mutex<Instant>>,
    inner: Arc<Inner>,
}

/// The end of the chain.
struct Inner {
    script: Mutex<Script>,
    asked: Mutex<Vec<Query>>,
}

type Script = Box<dyn Fn(&Query) -> Outcome + Send>;

impl World {
    /// A cache with these options, whose inner plugin does what the function says.
    fn new(options: &str, script: impl Fn(&Query) -> Outcome + Send + 'static) -> World {
        World::with(settings(options), options, script)
    }

    /// The same with settings that no option can make.
    fn with(
        settings: Settings,
        options: &str,
        script: impl Fn(&Query) -> Outcome + Send + 'static,
    ) -> World {
        let mut configured = configure(".", options).expect("valid options");
        // Those of a cache that nobody asks.
        configured.instance.tasks.clear();
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = {
            let now = Arc::clone(&now);
            Box::new(move || *now.lock().expect("no test panics here"))
        };
        let mut setup = Setup {
            directives: &[],
            block: &mut configured.block,
            instance: &mut configured.instance,
        };
        let cache = Arc::new(Cache::with_clock(settings, &mut setup, clock));
        let shared = Arc::clone(cache.shared());
        let inner =
            Arc::new(Inner { script: Mutex::new(Box::new(script)), asked: Mutex::default() });
        let end = scripted({
            let inner = Arc::clone(&inner);
            move |query| {
                inner.asked.lock().expect("no test panics here").push(query.clone());
                (inner.script.lock().expect("no test panics here"))(query)
            }
        });
        let server = testing::server(vec![cache as Arc<dyn Plugin>, end]);
        World { server, shared, instance: configured.instance, now, inner }
    }

    /// A cache in front of the same reply for every query.
    fn replying(options: &str, reply: &'static [&'static str]) -> World {
        World::new(options, move |query| testing::replies::reply(query, reply).into())
    }

    /// From now on the inner plugin gives this reply.
    fn reply_with(&self, reply: &'static [&'static str]) {
        self.script(move |query| testing::replies::reply(query, reply).into());
    }

    /// From now on the inner plugin does this.
    fn script(&self, script: impl Fn(&Query) -> Outcome + Send + 'static) {
        *self.inner.script.lock().expect("no test panics here") = Box::new(script);
    }

    /// Moves the clock on.
    fn pass(&self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// The same in parts of seconds.
    fn wait(&self, duration: Duration) {
        *self.now.lock().expect("no test panics here") += duration;
    }

    /// A query that arrives now.
    fn query(&self, name: &str, qtype: RecordType) -> Query {
        let mut query = testing::query(name, qtype);
        query.received = *self.now.lock().expect("no test panics here");
        query
    }

    /// The answer to an A query, as lines.
    fn ask(&self, name: &str) -> Vec<String> {
        self.ask_query(&self.query(name, RecordType::A))
    }

    fn ask_query(&self, query: &Query) -> Vec<String> {
        lines(query, &self.answer(query))
    }

    fn answer(&self, query: &Query) -> Answer {
        ask(&self.server, query)
    }

    /// How many queries reached the inner plugin.
    fn asked(&self) -> usize {
        self.inner.asked.lock().expect("no test panics here").len()
    }

    fn last_asked(&self) -> Query {
        self.inner.asked.lock().expect("no test panics here").last().expect("asked").clone()
    }

    /// The value of a metric without its labels `server`, `zones` and `view`.
    fn metric(&self, name: &'static str, side: Option<&str>) -> f64 {
        let registry = &self.instance.metrics;
        let zones = self.shared.settings.zones.joined();
        let mut labels = vec![("server", "dns://:53")];
        labels.extend(side.map(|side| ("type", side)));
        labels.extend([("zones", zones.as_str()), ("view", "")]);
        match name {
            "coredns_cache_entries" => registry.gauge(name, "", &labels).value(),
            _ => registry.counter(name, "", &labels).value() as f64,
        }
    }

    /// Waits until background refreshes have ended: `count` queries reached the inner plugin, and their answers were stored.
    fn after_asked(&self, count: usize) {
        testing::eventually("the inner plugin is asked", || self.asked() >= count);
        // The runtime has one worker: what is spawned now runs when the refresh yields, which it does only at its end.
        RUNTIME.block_on(async { tokio::spawn(async {}).await }).expect("an empty task ends");
    }
}

fn changed(mut query: Query, change: impl FnOnce(&mut Query)) -> Query {
    change(&mut query);
    query
}

fn with_edns(mut query: Query, dnssec_ok: bool) -> Query {
    let flags = if dnssec_ok { periplus_core::codes::flags::DO } else { 0 };
    query.edns = Some(Edns { udp_size: 1232, flags, ..Edns::default() });
    query
}

fn with_option(query: Query, code: u16, data: &[u8]) -> Query {
    let mut query = with_edns(query, false);
    query.edns.as_mut().expect("just set").push_option(code, data);
    query
}

/// The same question as few ask it, each of another shape.
fn odd(query: &Query) -> Vec<Query> {
    use periplus_core::codes::flags;
    let flagged = |flags| changed(query.clone(), |query| query.flags = flags);
    let edns = |change: fn(&mut Edns)| {
        changed(with_edns(query.clone(), false), |query| {
            change(query.edns.as_mut().expect("just set"));
        })
    };
    vec![
        flagged(0),
        flagged(flags::RD | flags::AA),
        flagged(flags::RD | 1),
        changed(query.clone(), |query| query.transport = Transport::Tcp),
        edns(|edns| edns.version = 1),
        edns(|edns| edns.flags = 1),
        with_option(query.clone(), edns_option::COOKIE, b"12345678"),
        with_option(query.clone(), edns_option::COOKIE, b"123"),
        with_option(query.clone(), 65001, b"123"),
    ]
}

/// The extended errors that a client is told.
fn extended_errors(answer: &Answer) -> Vec<u8> {
    let opt = answer.reply().and_then(|reply| reply.opt.as_ref());
    let options = opt.iter().flat_map(|opt| opt.options());
    options.filter(|(code, _)| *code == edns_option::EDE).map(|(_, data)| data[1]).collect()
}

/// A failure of resolution.
fn unresolved() -> Failure {
    Failure::servfail("scripted", "nobody answers").of_kind(FailureKind::Resolution)
}

const POSITIVE: &[&str] = &["NOERROR qr rd ra", "answer: example.org. 300 IN A 192.0.2.1"];
const OTHER: &[&str] = &["NOERROR qr rd ra", "answer: example.org. 300 IN A 192.0.2.2"];
const NXDOMAIN: &[&str] =
    &["NXDOMAIN qr rd ra", "authority: org. 900 IN SOA ns.org. mail.org. 1 2 3 4 5"];
const NODATA: &[&str] =
    &["NOERROR qr rd ra", "authority: example.org. 900 IN SOA ns.org. mail.org. 1 2 3 4 5"];
const SERVFAIL: &[&str] = &["SERVFAIL qr rd ra"];
