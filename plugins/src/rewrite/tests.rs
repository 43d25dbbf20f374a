mod answers;
mod errors;
mod names;
mod options;
mod readme;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use periplus_core::codes::{Class, Rcode, RecordType, flags};
use periplus_core::plugin::{Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, RecordSetBuilder, Soa, srv_rdata, txt_rdata};
use periplus_core::reply::{Failure, Reply};
use periplus_core::server::Server;

use crate::testing::{answer_lines, configure, delayed, name, query, scripted};

/// What the rules make of one question and one answer.
struct Case {
    /// The `rewrite` directives.
    rules: &'static str,
    /// The client's question: name and type.
    asked: &'static str,
    /// The question that the next plugin sees: name, type, and class if it is not IN.
    seen: &'static str,
    /// What the next plugin answers (see [`reply`]), to whatever question, or after a line `? NAME TYPE` to that one.
    inner: &'static [&'static str],
    /// What the client gets.
    told: &'static [&'static str],
}

/// Runs cases with an answer that is there at once and with one that comes later.
#[track_caller]
fn check(cases: &[Case]) {
    for case in cases {
        for later in [false, true] {
            let asked = question(case.asked);
            let inner = Inner::new(case.inner, later);
            let told = answer_lines(&inner.server(case.rules), &asked);
            let what = format!("{} <- {} (later: {later})", case.rules, case.asked);
            assert_eq!(
                inner.seen().first().map(String::as_str),
                Some(case.seen),
                "question of {what}"
            );
            assert_eq!(told, case.told, "answer of {what}");
        }
    }
}

/// The question of a text such as `example.org. A`.
fn question(text: &str) -> Query {
    let (qname, qtype) = text.split_once(' ').expect("a name and a type");
    query(qname, RecordType::from_mnemonic(qtype).expect("a type"))
}

/// A scripted end of the chain that notes what it is asked.
struct Inner {
    plugin: Arc<dyn Plugin>,
    queries: Arc<Mutex<Vec<Query>>>,
}

impl Inner {
    fn new(script: &'static [&'static str], later: bool) -> Inner {
        let queries: Arc<Mutex<Vec<Query>>> = Arc::default();
        let noted = Arc::clone(&queries);
        let plugin = scripted(move |query| {
            noted.lock().unwrap().push(query.clone());
            let outcome = reply(query, script);
            if later { delayed(outcome, Duration::from_millis(1)) } else { outcome }
        });
        Inner { plugin, queries }
    }

    /// A server with the rules in front of this.
    #[track_caller]
    fn server(&self, rules: &str) -> Arc<Server> {
        configure(".", rules)
            .unwrap_or_else(|error| panic!("{error}"))
            .server(vec![self.plugin.clone()])
    }

    fn queries(&self) -> Vec<Query> {
        self.queries.lock().unwrap().clone()
    }

    /// All questions, in order.
    fn seen(&self) -> Vec<String> {
        let text = |query: &Query| {
            let class =
                if query.class == Class::IN { String::new() } else { format!(" {}", query.class) };
            format!("{} {}{class}", query.spelled(), query.qtype)
        };
        self.queries().iter().map(text).collect()
    }
}

/// An outcome from lines: `answer: OWNER TTL TYPE RDATA`, likewise for the other sections, `rcode: CODE`, `flag: tc`,
/// `failure: CODE` (with the cause `broken`) or `silence`.
fn reply(query: &Query, script: &[&str]) -> Outcome {
    let own = format!("? {} {}", query.spelled(), query.qtype);
    let from = match script.iter().position(|line| *line == own) {
        Some(at) => at + 1,
        None if script.iter().any(|line| line.starts_with('?')) => {
            panic!("not in the script: {own}")
        }
        None => 0,
    };
    let mut reply = Reply::to(query, "scripted");
    for line in script[from..].iter().take_while(|line| !line.starts_with('?')) {
        let (what, rest) = line.split_once(": ").unwrap_or((line, ""));
        match what {
            "answer" => reply.answer.push(entry(rest)),
            "authority" => reply.authority.push(entry(rest)),
            "additional" => reply.additional.push(entry(rest)),
            "rcode" => reply.rcode = Rcode::from_mnemonic(rest).expect("a response code"),
            "flag" => reply.set(flags::TC, true),
            "failure" => {
                let rcode = Rcode::from_mnemonic(rest).expect("a response code");
                return Failure { rcode, ..Failure::servfail("scripted", "broken") }.into();
            }
            "silence" => return Outcome::Now(periplus_core::reply::Answer::Silence),
            _ => panic!("not understood: {line}"),
        }
    }
    reply.into()
}

/// An entry from `OWNER TTL TYPE RDATA`; the owner `@` is the question's name, `@4` its tail from that byte on. Several records
/// are separated by ` + `.
fn entry(text: &str) -> Entry {
    let mut words = text.splitn(4, ' ');
    let mut next = || words.next().expect("owner, TTL, type and RDATA");
    let (owner, ttl, rtype, records) = (next(), next(), next(), next());
    let rtype = RecordType::from_mnemonic(rtype).expect("a type");
    let owner = match owner.strip_prefix('@') {
        Some("") => Owner::Question,
        Some(offset) => Owner::QuestionSuffix(offset.parse().expect("an offset")),
        None => Owner::Name(name(owner)),
    };
    let mut set = RecordSetBuilder::new(rtype, ttl.parse().expect("a TTL"));
    records.split(" + ").for_each(|record| set.push(&rdata(rtype, record)));
    Entry::of(owner, set.finish())
}

fn rdata(rtype: RecordType, text: &str) -> Vec<u8> {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |index: usize| words[index].parse::<u16>().expect("a number");
    match rtype {
        RecordType::A => {
            words[0].parse::<std::net::Ipv4Addr>().expect("an address").octets().to_vec()
        }
        RecordType::CNAME | RecordType::NS | RecordType::PTR | RecordType::DNAME => {
            name(words[0]).as_wire().to_vec()
        }
        RecordType::MX => [&number(0).to_be_bytes()[..], name(words[1]).as_wire()].concat(),
        RecordType::SRV => {
            srv_rdata(number(0), number(1), number(2), name(words[3]).as_ref()).to_vec()
        }
        RecordType::SOA => {
            let (mname, rname) = (name(words[0]), name(words[1]));
            let (mname, rname) = (mname.as_ref(), rname.as_ref());
            Soa { mname, rname, serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 5 }.rdata()
        }
        RecordType::NAPTR => [&[0, 1, 0, 2, 1, b'S', 0, 0][..], name(words[0]).as_wire()].concat(),
        RecordType::TXT => txt_rdata(text.as_bytes()),
        _ => panic!("no RDATA for {rtype}"),
    }
}

#[test]
fn a_query_that_no_rule_means_passes_as_it_is() {
    let rules = "rewrite name exact a.example b.example\nrewrite name suffix .x.example .y.example\n\
                 rewrite name prefix www web\nrewrite name substring mid.dle top\nrewrite name regex ^z[0-9]+\\.$ zed\n\
                 rewrite type TXT A\nrewrite class CH IN\nrewrite ttl a.example 5\nrewrite rcode a.example SERVFAIL NOERROR";
    let inner = Inner::new(&["answer: @ 60 A 192.0.2.1"], false);
    let asked = question("Other.Example. A");
    let told = answer_lines(&inner.server(rules), &asked);
    assert_eq!(told, ["NOERROR qr rd", "answer: Other.Example. 60 IN A 192.0.2.1"]);
    assert_eq!(inner.seen(), ["Other.Example. A"]);
}

#[test]
fn records_that_keep_their_names_are_shared_and_not_copied() {
    let set = RecordSet::name(RecordType::CNAME, 60, name("elsewhere.test").as_ref());
    let answered = Arc::clone(&set);
    let end = scripted(move |query: &Query| {
        let mut reply = Reply::to(query, "scripted");
        reply.answer.push(Entry::of_question(Arc::clone(&answered)));
        reply.into()
    });
    let server =
        configure(".", "rewrite name exact a.example b.example").ok().unwrap().server(vec![end]);
    let answer = crate::testing::ask(&server, &question("a.example. A"));
    let entry = &answer.reply().unwrap().answer[0];
    assert!(Arc::ptr_eq(&entry.set, &set));
    assert_eq!(entry.owner, Owner::Question);
}
