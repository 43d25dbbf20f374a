//! Which names are forwarded, and several stanzas in one block.

use periplus_core::codes::Rcode;

use super::super::testing::{ScriptedUpstream, Step};
use super::Fixture;

#[test]
fn from_and_except_decide_which_names_are_forwarded() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::new(
        "forward example.org {1} {\nexcept internal.example.org example.org 10.in-addr.arpa\n}",
        &[upstream.address],
    );
    // NOTIMP is the plugin behind `forward`.
    let cases = [
        ("example.net.", "NOTIMP"),
        ("org.", "NOTIMP"),
        ("example.org.", "1"),
        ("EXAMPLE.org.", "1"),
        ("www.example.org.", "NOTIMP"),
    ];
    for (name, expected) in cases {
        assert_eq!(fixture.short(name), expected, "{name}");
    }
    let fixture =
        Fixture::new("forward . {1} {\nexcept Internal.Example.org\n}", &[upstream.address]);
    let cases = [
        (".", "1"),
        ("www.example.org.", "1"),
        ("notinternal.example.org.", "1"),
        ("internal.example.org.", "NOTIMP"),
        ("a.INTERNAL.example.org.", "NOTIMP"),
    ];
    for (name, expected) in cases {
        assert_eq!(fixture.short(name), expected, "{name}");
    }
}

#[test]
fn the_first_stanza_that_covers_a_name_answers() {
    let (one, two) = (ScriptedUpstream::answering(1), ScriptedUpstream::answering(2));
    let fixture = Fixture::new(
        "forward lab.example.org {1}\nforward example.org {2}",
        &[one.address, two.address],
    );
    for (name, expected) in
        [("a.lab.example.org.", "1"), ("a.example.org.", "2"), ("org.", "NOTIMP")]
    {
        assert_eq!(fixture.short(name), expected, "{name}");
    }
}

#[test]
fn next_hands_the_question_on_to_the_next_stanza() {
    let denying = ScriptedUpstream::failing(Rcode::NXDOMAIN);
    let empty = ScriptedUpstream::failing(Rcode::NOERROR);
    let three = ScriptedUpstream::answering(3);
    let all = [denying.address, empty.address, three.address];

    let text =
        "forward . {1} {\nnext NXDOMAIN\n}\nforward . {2} {\nnext_on_nodata\n}\nforward . {3}";
    assert_eq!(Fixture::new(text, &all).short("example.org."), "3");

    let text = "forward . {1} {\nnext SERVFAIL\n}\nforward . {3}";
    assert_eq!(Fixture::new(text, &all).short("example.org."), "NXDOMAIN");

    let text = "forward . {2} {\nnext NXDOMAIN\n}\nforward . {3}";
    assert_eq!(Fixture::new(text, &all).short("example.org."), "NOERROR");

    let text = "forward . {2} {\nnext NOERROR\n}\nforward . {3}";
    assert_eq!(Fixture::new(text, &all).short("example.org."), "3");
}

#[test]
fn next_goes_before_the_failover_that_nobody_asked_for() {
    let failing = ScriptedUpstream::failing(Rcode::SERVFAIL);
    let (two, three) = (ScriptedUpstream::answering(2), ScriptedUpstream::answering(3));
    let all = [failing.address, two.address, three.address];
    for (options, expected) in [("next SERVFAIL", "3"), ("next NXDOMAIN", "2")] {
        let text =
            format!("forward . {{1}} {{2}} {{\npolicy sequential\n{options}\n}}\nforward . {{3}}");
        assert_eq!(Fixture::new(&text, &all).short("example.org."), expected, "{options}");
    }
}

#[test]
fn the_last_stanza_keeps_its_answer() {
    let denying = ScriptedUpstream::failing(Rcode::NXDOMAIN);
    let text = "forward . {1} {\nnext NXDOMAIN\nnext_on_nodata\n}";
    assert_eq!(Fixture::new(text, &[denying.address]).short("example.org."), "NXDOMAIN");
}

#[test]
fn what_is_handed_on_and_covered_by_no_further_stanza_goes_to_the_next_plugin() {
    let denying = ScriptedUpstream::failing(Rcode::NXDOMAIN);
    let two = ScriptedUpstream::answering(2);
    let text = "forward . {1} {\nnext NXDOMAIN\n}\nforward example.net {2}";
    let fixture = Fixture::new(text, &[denying.address, two.address]);
    assert_eq!(fixture.short("example.net."), "2");
    assert_eq!(fixture.short("example.org."), "NOTIMP");
}

#[test]
fn nodata_with_a_cname_is_not_handed_on() {
    let one = ScriptedUpstream::answering(1);
    let two = ScriptedUpstream::answering(2);
    let text = "forward . {1} {\nnext_on_nodata\n}\nforward . {2}";
    assert_eq!(Fixture::new(text, &[one.address, two.address]).short("example.org."), "1");
}

#[test]
fn each_stanza_limits_its_own_questions() {
    let denying = ScriptedUpstream::failing(Rcode::NXDOMAIN);
    let two = ScriptedUpstream::answering(2);
    let text =
        "forward . {1} {\nnext NXDOMAIN\nmax_concurrent 1\n}\nforward . {2} {\nmax_concurrent 1\n}";
    let fixture = Fixture::new(text, &[denying.address, two.address]);
    for _ in 0..3 {
        assert_eq!(fixture.short("example.org."), "2");
    }
}

#[test]
fn a_failure_is_not_handed_on() {
    let closing = ScriptedUpstream::new(|_| vec![Step::Close]);
    let two = ScriptedUpstream::answering(2);
    let text = "forward . {1} {\nforce_tcp\nnext SERVFAIL\n}\nforward . {2}";
    assert_eq!(
        Fixture::new(text, &[closing.address, two.address]).short("example.org."),
        "SERVFAIL"
    );
}
