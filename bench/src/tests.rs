//! The measuring instruments themselves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use serde_json::Value;

use crate::api::Api;
use crate::check;
use crate::cluster::Cluster;
use crate::latency::{self, Pace, Schedule};
use crate::load;
use crate::machine::{Machine, civil};
use crate::question::Questions;
use crate::report::{Report, Turn};
use crate::scenario::Scenario;
use crate::servers::Kind;
use crate::upstream::Upstream;

fn get(api: &Api, target: &str) -> Value {
    let mut stream = TcpStream::connect(api.address).expect("the API server listens");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("the request is sent");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out is set");
    let mut response = Vec::new();
    // The connection stays open: what has come by then is the response.
    let _ = stream.read_to_end(&mut response);
    let text = String::from_utf8(response).expect("the response is text");
    let (_, body) = text.split_once("\r\n\r\n").expect("the response has a body");
    serde_json::from_str(body).expect("the body is JSON")
}

#[test]
fn the_api_server_lists_in_pages_unless_any_version_will_do() {
    let cluster = Cluster::new(10);
    let api = Api::start(&cluster).expect("the API server starts");
    let items = |list: &Value| list["items"].as_array().map_or(0, Vec::len);
    let first = get(&api, "/api/v1/services?limit=8");
    assert_eq!(items(&first), 8);
    let rest = get(&api, "/api/v1/services?limit=8&continue=1000000.8");
    assert_eq!((items(&rest), rest["metadata"]["continue"].as_str()), (4, Some("")));
    assert_eq!(items(&get(&api, "/api/v1/services?limit=8&resourceVersion=0")), 12);
    // Three slices of 100 endpoints for `many`.
    assert_eq!(items(&get(&api, "/apis/discovery.k8s.io/v1/endpointslices")), 14);
}

#[test]
fn the_api_server_refuses_streaming_lists() {
    let api = Api::start(&Cluster::new(1)).expect("the API server starts");
    assert_eq!(get(&api, "/api/v1/services?watch=true&sendInitialEvents=true")["code"], 422);
}

#[test]
fn the_api_server_tells_who_watches_of_changes_and_of_expiry() {
    let cluster = Cluster::new(1).with_changing(2);
    let api = Api::start(&cluster).expect("the API server starts");
    let mut stream = TcpStream::connect(api.address).expect("the API server listens");
    let target = "/apis/discovery.k8s.io/v1/endpointslices?watch=true&resourceVersion=1000000";
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is sent");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out is set");
    while api.watches() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // One slice of the numbered service, one of `three`, three of `many`, then those that change.
    api.change_slice(5, |version| format!("{{\"changed\":{version}}}"));
    api.expire();
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("the watch ends");
    let places: Vec<Option<usize>> = [
        r#""MODIFIED","object":{"changed":1000001}"#,
        r#""BOOKMARK""#,
        r#""code":410"#,
        "\r\n0\r\n\r\n",
    ]
    .map(|text| response.find(text))
    .to_vec();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {response}");
    let list = get(&api, "/apis/discovery.k8s.io/v1/endpointslices");
    assert_eq!(list["items"][5]["changed"], 1_000_001);
    assert_eq!(list["metadata"]["resourceVersion"], "1000001");
}

#[test]
fn latency_is_told_for_a_part_of_a_run_too() {
    let upstream = Upstream::start().expect("the upstream starts");
    let mut questions = Questions::fresh("fast.test.", 0).expect("the name is valid");
    let schedule = Schedule { rate: 1000, most: Duration::from_secs(10), pace: Pace::Sleep };
    let begun = Instant::now();
    let samples = latency::ask(upstream.address, &mut questions, &schedule, |now| {
        now < Duration::from_millis(50)
    })
    .expect("the load runs");
    let (all, part) =
        (samples.latency(), samples.within(&[(begun, begun + Duration::from_millis(20))]));
    assert_eq!((all.wrong, all.lost), (0, 0));
    assert!(0 < part.asked && part.asked < all.asked, "{part:?} of {all:?}");
}

#[test]
fn every_scenario_has_questions_with_names() {
    let cluster = Cluster::new(100);
    for scenario in Scenario::value_variants() {
        let questions = scenario.questions(&cluster).expect("the questions can be made");
        let mut message = Vec::new();
        questions.write(7, 0x1234, &mut message);
        let decoded =
            hickory_proto::op::Message::from_vec(&message).expect("the question is a message");
        assert_eq!(decoded.metadata.id, 0x1234, "{scenario:?}");
        assert_eq!(decoded.queries.len(), 1, "{scenario:?}");
    }
}

#[test]
fn fresh_names_differ() {
    let questions = Questions::fresh("miss.test.", 41).expect("the name is valid");
    let mut message = Vec::new();
    questions.write(1, 0, &mut message);
    assert_eq!(&message[13..23], b"0000000042");
}

#[test]
fn the_loads_find_a_server_that_answers() {
    let upstream = Upstream::start().expect("the upstream starts");
    let mut questions = Questions::fresh("fast.test.", 0).expect("the name is valid");
    let duration = Duration::from_millis(50);
    let load = load::closed_loop(upstream.address, &mut questions, duration, false)
        .expect("the load runs");
    assert!(load.answered > 0);
    assert_eq!(load.wrong, 0);
    let latency = latency::open_loop(upstream.address, &mut questions, 1000, duration, Pace::Yield)
        .expect("the load runs");
    assert_eq!((latency.asked, latency.lost), (50, 0));
    assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.p999);
}

#[test]
fn a_wrong_answer_is_found() {
    let upstream = Upstream::start().expect("the upstream starts");
    let cluster = Cluster::new(10);
    let mut questions = Scenario::A.questions(&cluster).expect("the questions can be made");
    assert!(check::answers(upstream.address, &mut questions, false).is_err());
}

#[test]
fn ratios_are_those_of_medians() {
    let mut report = Report::new(Machine::now(), 3, 1, 1000);
    for (kind, values) in [(Kind::Floor, [4.0, 5.0, 100.0]), (Kind::Periplus, [6.0, 7.5, 7.6])] {
        for user in values {
            report.add(Scenario::A, kind, Turn { user, ..Turn::default() });
        }
    }
    let table = report.table(Scenario::A);
    assert!(table.contains("| 7.50 (6.00-7.60) | 1.50 | - |"), "{table}");
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (days, date) in [
        (0, (1970, 1, 1)),
        (11_016, (2000, 2, 29)),
        (11_017, (2000, 3, 1)),
        (20_088, (2024, 12, 31)),
    ] {
        assert_eq!(civil(days), date);
    }
}
