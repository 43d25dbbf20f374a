//! Upstreams that take long or say nothing: who else is asked, and when.

use std::time::{Duration, Instant};

use periplus_core::codes::{Rcode, RecordType};

use super::super::testing::{ScriptedUpstream, Step};
use super::{Fixture, over_tcp, short, with_paused_clock};
use crate::testing::{answer_lines, eventually, query};

const HEDGED: &str = "periplus_forward_hedged_requests_total";

/// The beginning of the series that counts how often somebody else was asked in this one's place.
fn hedged_for(upstream: &ScriptedUpstream) -> String {
    format!("{HEDGED}{{to=\"{}\"}}", upstream.address)
}

fn after(time: u64, last: u8) -> ScriptedUpstream {
    ScriptedUpstream::new(move |asked| {
        vec![Step::Wait(Duration::from_millis(time)), Step::Send(asked.address(last))]
    })
}

fn fixture(options: &str, upstreams: &[ScriptedUpstream]) -> Fixture {
    let all: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let names: String = (1..=all.len()).map(|index| format!("{{{index}}} ")).collect();
    Fixture::new(&format!("forward . {names}{{\n{options}\n}}"), &all)
}

#[test]
fn one_of_three_that_says_nothing_is_noticed_by_nobody() {
    for transport in ["udp", "tcp"] {
        let upstreams = [
            ScriptedUpstream::silent(),
            ScriptedUpstream::answering(2),
            ScriptedUpstream::answering(3),
        ];
        // Nobody could wait for `read_timeout`: it is longer than all attempts may take together.
        let fixture = fixture("read_timeout 30s", &upstreams);
        let mut times = Vec::new();
        for number in 0..60 {
            let name = format!("n{number}.example.");
            let mut asked = query(&name, RecordType::A);
            if transport == "tcp" {
                asked = over_tcp(asked);
            }
            let begun = Instant::now();
            let answer = short(&answer_lines(&fixture.server, &asked));
            assert!(["2", "3"].contains(&answer.as_str()), "{transport}: {answer}");
            times.push((begun.elapsed(), name));
        }
        // The others are late as well when the machine stands still, and then the silent one is asked in their place.
        let hedged = fixture.metric(&hedged_for(&upstreams[0]));
        let stalls = fixture.metric(HEDGED) - hedged;
        let questions = || {
            let asked = upstreams[0].asked();
            asked.iter().filter(|asked| asked.query.qtype == RecordType::A).count() as f64
        };
        eventually("all questions have arrived", || questions() >= hedged);
        let questions = questions();
        assert!(questions - hedged <= stalls, "{hedged} of {questions}, {stalls} stalls");
        assert!((1.0..=3.0 + stalls).contains(&hedged), "asked last after three: {hedged}");
        // Those who had asked it were answered soon after `hedge_after`.
        times.retain(|(_, name)| upstreams[0].count(name) > 0);
        let (least, _) = times.iter().min().expect("some had asked it");
        assert!(*least < Duration::from_secs(1), "{times:?}");
    }
}

#[test]
fn the_first_upstream_may_still_win() {
    let upstreams = [after(400, 1), ScriptedUpstream::silent()];
    let options = "policy sequential\nhedge_after 150ms\nread_timeout 30s";
    // Who else is asked is for chance to say when the machine stands still for so long.
    eventually("the second one is asked once, and not the next time", || {
        let fixture = fixture(options, &upstreams);
        let before = upstreams.each_ref().map(|upstream| upstream.count("example.org."));
        assert_eq!(fixture.short("example.org."), "1");
        let hedged = fixture.metric(HEDGED);
        // It is known now to take its time.
        assert_eq!(fixture.short("example.org."), "1");
        let after = upstreams.each_ref().map(|upstream| upstream.count("example.org."));
        assert_eq!(after[0], before[0] + 2);
        hedged == 1.0 && fixture.metric(HEDGED) == 1.0 && after[1] == before[1] + 1
    });
}

#[test]
fn a_failure_of_the_second_does_not_end_the_wait_for_the_first() {
    let failing = ScriptedUpstream::failing(Rcode::SERVFAIL);
    let upstreams = [after(400, 1), failing];
    let options = "policy sequential\nhedge_after 150ms\nread_timeout 30s";
    eventually("the second one is asked", || {
        let fixture = fixture(options, &upstreams);
        assert_eq!(fixture.short("example.org."), "1");
        upstreams[1].count("example.org.") > 0
    });
    assert_eq!(upstreams[1].count("example.org."), 1);
}

#[test]
fn whatever_the_second_says_waits_for_the_first_where_that_is_preferred() {
    let seconds = [
        ScriptedUpstream::answering(2),
        ScriptedUpstream::failing(Rcode::NOERROR),
        ScriptedUpstream::failing(Rcode::NXDOMAIN),
    ];
    // Side by side, because all they do is wait.
    std::thread::scope(|scope| {
        for (second, says) in seconds.into_iter().zip(["2", "NOERROR", "NXDOMAIN"]) {
            scope.spawn(move || waits_for_the_first(second, says));
        }
    });
}

fn waits_for_the_first(second: ScriptedUpstream, says: &str) {
    // More than `hedge_after`, far less than half of `read_timeout`.
    let upstreams = [after(600, 1), second];
    eventually("the second one is asked", || {
        let preferring = fixture("policy sequential\nread_timeout 10s", &upstreams);
        assert_eq!(preferring.short("example.org."), "1", "not {says}");
        upstreams[1].count("example.org.") > 0
    });
    assert_eq!(upstreams[1].count("example.org."), 1);

    let took = |fixture: &Fixture| {
        let begun = Instant::now();
        assert_eq!(fixture.short("example.org."), says);
        begun.elapsed()
    };
    // Before the time of all attempts is over, which ends every wait.
    let soon = Duration::from_secs(4);
    // The first one never says anything: its time ends before `read_timeout` does.
    upstreams[0].becomes(|_| Vec::new());
    eventually("half of `read_timeout` is enough", || {
        let waited = took(&fixture("policy sequential\nread_timeout 4s", &upstreams));
        assert!(waited >= Duration::from_secs(2), "{waited:?}");
        waited < soon
    });

    // It fails: nobody waits any longer.
    upstreams[0].becomes(|_| vec![Step::Wait(Duration::from_millis(600)), Step::Close]);
    eventually("a failure ends the wait", || {
        took(&fixture("policy sequential\nforce_tcp\nread_timeout 10s", &upstreams)) < soon
    });

    // All are alike: what comes first counts.
    upstreams[0].becomes(|_| Vec::new());
    eventually("nobody is waited for", || {
        let alike = fixture("policy round_robin\nread_timeout 10s", &upstreams);
        took(&alike) + took(&alike) < soon
    });
}

#[test]
fn of_two_answers_that_wait_for_the_first_upstream_that_of_the_second_counts() {
    // All three are asked before the second answers; the third does before or after it.
    for third in [0, 600] {
        let upstreams = [ScriptedUpstream::silent(), after(600, 2), after(third, 3)];
        let options = "policy sequential\nhedge_after 150ms\nread_timeout 8s";
        eventually("all three are asked", || {
            let fixture = fixture(options, &upstreams);
            assert_eq!(fixture.short("example.org."), "2");
            upstreams[2].count("example.org.") > 0
        });
        assert_eq!(upstreams[2].count("example.org."), 1);
    }
}

#[test]
fn who_prefers_the_first_upstream_waits_longer_for_it() {
    // More than the 150 ms of the other policies, so much less than 400 ms that nobody is that late.
    let upstreams = [after(200, 1), ScriptedUpstream::answering(2)];
    let fixture = fixture("policy sequential", &upstreams);
    let answers: Vec<String> = (0..5).map(|_| fixture.short("example.org.")).collect();
    assert!(answers.iter().filter(|answer| *answer == "1").count() >= 3, "{answers:?}");
}

#[test]
fn the_only_one_that_is_not_down_is_not_asked_twice_because_it_is_slow() {
    let upstreams = [ScriptedUpstream::answering(1), ScriptedUpstream::new(|_| vec![Step::Close])];
    let options = "force_tcp\nhedge_after 150ms\nhealth_check 10ms\nread_timeout 30s";
    let fixture = fixture(options, &upstreams);
    eventually("the other one is down", || {
        fixture.lines("example.org.");
        fixture.metric("coredns_proxy_healthcheck_failures_total") >= 3.0
    });
    upstreams[0].becomes(|asked| {
        vec![Step::Wait(Duration::from_millis(600)), Step::Send(asked.address(1))]
    });
    assert_eq!(fixture.short("slow.example."), "1");
    assert_eq!(upstreams[0].count("slow.example."), 1);
}

#[test]
fn no_more_than_three_are_waited_for_at_the_same_time() {
    for (options, most) in [("", 3), ("max_connect_attempts 2", 2), ("hedge_after 0s", 1)] {
        let upstreams: [_; 5] = std::array::from_fn(|_| ScriptedUpstream::silent());
        // Nobody fails before the end, so that all wait at the same time.
        let options = format!("hedge_after 20ms\nread_timeout 30s\n{options}");
        let fixture = fixture(&options, &upstreams);
        let asked = query("example.org.", RecordType::A);
        let answer = with_paused_clock(async { fixture.server.dispatch(&asked).wait().await });
        assert_eq!(answer.rcode(), Some(Rcode::SERVFAIL));
        assert_eq!(fixture.metric(HEDGED), most as f64 - 1.0, "{options}");
        let counts = || upstreams.each_ref().map(|upstream| upstream.count("example.org."));
        eventually("all questions have arrived", || counts().iter().sum::<usize>() >= most);
        assert_eq!(counts().iter().sum::<usize>(), most, "{options}");
        assert!(counts().iter().all(|count| *count <= 1));
    }
}

#[test]
fn a_lost_datagram_is_sent_once_more_after_half_the_time() {
    // Again only when the machine stands still for the other half.
    eventually("it is sent before the first one has failed", || {
        // Lost is the first of two.
        let lost = std::sync::atomic::AtomicBool::new(false);
        let upstream = ScriptedUpstream::new(move |asked| {
            match lost.swap(true, std::sync::atomic::Ordering::Relaxed) {
                false => Vec::new(),
                true => vec![Step::Send(asked.address(1))],
            }
        });
        let fixture = Fixture::with_options("read_timeout 4s", &upstream);
        let begun = Instant::now();
        let answer = fixture.short("example.org.");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(2), "{took:?}");
        let asked = upstream.asked();
        if answer != "1" || fixture.metric(HEDGED) != 1.0 {
            return false;
        }
        assert_eq!(asked.len(), 2);
        assert_ne!(asked[0].from, asked[1].from, "another socket");
        assert_ne!(asked[0].query.id, asked[1].query.id);
        true
    });
}

#[test]
fn an_upstream_that_lets_three_questions_pass_is_probed() {
    let upstreams = [
        ScriptedUpstream::new(|asked| match asked.query.qtype {
            RecordType::NS => vec![Step::Send(asked.address(1))],
            _ => Vec::new(),
        }),
        ScriptedUpstream::answering(2),
    ];
    let probes = || {
        let asked = upstreams[0].asked();
        asked.iter().filter(|asked| asked.query.qtype == RecordType::NS).count()
    };
    let fixture = fixture("policy round_robin\nhedge_after 20ms\nread_timeout 30s", &upstreams);
    // Every other question goes to it first; the answering one is late too when the machine stands still.
    eventually("three have passed", || {
        assert_eq!(probes(), 0);
        assert_eq!(fixture.short("example.org."), "2");
        fixture.metric(&hedged_for(&upstreams[0])) == 3.0
    });
    eventually("it is probed", || probes() == 1);
}

#[test]
fn whatever_goes_wrong_the_end_comes_before_the_client_gives_up() {
    // Over UDP an answer that does not fit, over TCP nothing; or nothing at all.
    let truncating = || {
        ScriptedUpstream::new(|asked| match asked.over_tcp() {
            true => Vec::new(),
            false => vec![Step::Send(
                asked.response_with(|reply| reply.set(periplus_core::codes::flags::TC, true)),
            )],
        })
    };
    let black_hole = ScriptedUpstream::silent;
    for (options, upstreams) in [
        ("prefer_udp", [truncating(), truncating(), truncating()]),
        ("prefer_udp", [black_hole(), truncating(), black_hole()]),
        ("prefer_udp\nread_timeout 4s", [black_hole(), black_hole(), black_hole()]),
        ("force_tcp\nread_timeout 30s", [black_hole(), black_hole(), black_hole()]),
        ("max_connect_attempts 0\nhedge_after 0s", [black_hole(), black_hole(), black_hole()]),
    ] {
        let fixture = fixture(options, &upstreams);
        let asked = query("example.org.", RecordType::A);
        let (answer, took) = with_paused_clock(async {
            let begun = tokio::time::Instant::now();
            let answer = fixture.server.dispatch(&asked).wait().await;
            (answer, begun.elapsed())
        });
        assert_eq!(answer.rcode(), Some(Rcode::SERVFAIL), "{options}");
        assert!(took < Duration::from_millis(4600), "{took:?}, {options}");
    }
}
