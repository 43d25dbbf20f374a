use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::plugin::Plugin;
use periplus_core::reply::{Answer, Failure, Reply};

use crate::testing::{
    Captured, ask, configure, configure_with, delayed, eventually, query, refused, run_tasks,
    scripted,
};

/// Fails with the first label as its cause; a few labels mean something else.
fn failing() -> Arc<dyn Plugin> {
    scripted(|query| {
        let first = query.name().labels().next().unwrap_or_default();
        match first {
            b"fine" => Reply::to(query, "test").into(),
            b"mute" => Failure::silent(Rcode::SERVFAIL, "hosts").into(),
            b"silence" => Answer::Silence.into(),
            b"refused" => {
                let mut failure =
                    Failure::servfail("forward", "concurrent queries exceeded maximum 1");
                failure.rcode = Rcode::REFUSED;
                failure.into()
            }
            b"later" => delayed(
                Failure::servfail("forward", "i/o timeout").into(),
                Duration::from_millis(1),
            ),
            b"forged" => Failure::servfail("forward", "x\n[INFO] y\u{1b}[0m é").into(),
            label => Failure::servfail("forward", String::from_utf8_lossy(label)).into(),
        }
    })
}

#[test]
fn each_failure_with_a_cause_is_one_line() {
    let captured = Captured::new();
    let server = configure_with(".", "errors", &captured).unwrap().server(vec![failing()]);
    for name in ["fine.", "mute.", "silence.", "Refused.ORG.", "later.", "forged."] {
        ask(&server, &query(name, RecordType::AAAA));
    }
    assert_eq!(
        captured.finish(),
        "[ERROR] plugin/errors: 5 refused.org. AAAA: concurrent queries exceeded maximum 1\n\
         [ERROR] plugin/errors: 2 later. AAAA: i/o timeout\n\
         [ERROR] plugin/errors: 2 forged. AAAA: x\\n[INFO] y\\u{1b}[0m é\n"
    );
}

/// What is written for these first labels when the instance stops before any period ends.
fn written(options: &str, labels: &[&str]) -> String {
    let captured = Captured::new();
    let directives = format!("errors {{\n{options}\n}}");
    let mut configured = configure_with(".", &directives, &captured).unwrap();
    let server = configured.server(vec![failing()]);
    let tasks = run_tasks(&mut configured.instance);
    for label in labels {
        ask(&server, &query(label, RecordType::A));
    }
    tasks.stop();
    captured.finish()
}

#[test]
fn errors_alike_are_counted_and_summarized_at_the_end() {
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "consolidate 5m ^time",
            &["timeout", "other", "time-up", "timeout"],
            "[ERROR] plugin/errors: 2 other. A: other\n\
             [ERROR] plugin/errors: 3 errors like '^time' occurred in last 5m0s\n",
        ),
        (
            "consolidate 30s out$ warning show_first",
            &["timeout", "timeout", "out"],
            "[WARNING] plugin/errors: 2 timeout. A: timeout\n\
             [WARNING] plugin/errors: 3 errors like 'out$' occurred in last 30s\n",
        ),
        (
            "consolidate 30s out show_first",
            &["timeout"],
            "[ERROR] plugin/errors: 2 timeout. A: timeout\n",
        ),
        // The first pattern that matches counts.
        (
            "consolidate 1h a info\nconsolidate 1h b",
            &["ab", "b", "a"],
            "[INFO] plugin/errors: 2 errors like 'a' occurred in last 1h0m0s\n\
             [ERROR] plugin/errors: 1 errors like 'b' occurred in last 1h0m0s\n",
        ),
        // Nobody listens to debug events here.
        ("consolidate 1h a debug show_first", &["a", "a"], ""),
        ("consolidate 1h a", &["fine", "mute"], ""),
        ("stacktrace", &["a"], "[ERROR] plugin/errors: 2 a. A: a\n"),
    ];
    for (options, labels, expected) in cases {
        // Lines of different threads may change places.
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&written(options, labels)), sorted(expected), "{options}");
    }
}

#[test]
fn a_million_errors_alike_make_less_than_ten_lines() {
    let server = crate::testing::server(vec![failing()]);
    for (options, lines) in [("", 9), ("consolidate 1h unheard", 9), ("every", 1000)] {
        let captured = Captured::new();
        let directives = format!("errors {{\n{options}\n}}");
        let configured = configure_with(".", &directives, &captured).unwrap();
        let filter = configured.plugin.unwrap();
        let mut query = query("example.org.", RecordType::A);
        let count = if options == "every" { 1000 } else { 1_000_000 };
        for index in 0..count {
            let text = format!("read udp 10.1.2.3:{}->192.0.2.53:53: i/o timeout", index % 60_000);
            if index % 1000 == 0 {
                query = crate::testing::query(&format!("n{index}.example.org."), RecordType::A);
            }
            filter.filter(&server, &query, &mut Failure::servfail("forward", text).into());
        }
        let text = captured.finish();
        assert_eq!(text.lines().count(), lines, "{options}:\n{text}");
        let last = text.lines().next_back().unwrap();
        if options != "every" {
            assert_eq!(
                last,
                "[ERROR] plugin/errors: 999992 more lines like \
                 'read udp 10.1.2.3:0->192.0.2.53:53: i/o timeout' in the last minute"
            );
        }
    }
}

#[test]
fn a_period_that_ends_is_summarized_and_the_next_error_begins_another() {
    let captured = Captured::new();
    let directives = "errors {\nconsolidate 20ms slow\nconsolidate 1h other\n}";
    let mut configured = configure_with(".", directives, &captured).unwrap();
    let server = configured.server(vec![failing()]);
    let tasks = run_tasks(&mut configured.instance);
    let line = "[ERROR] plugin/errors: 1 errors like 'slow' occurred in last 20ms\n";
    for round in 1..=2 {
        ask(&server, &query("slow.", RecordType::A));
        eventually("the summary is written", || captured.so_far() == line.repeat(round));
    }
    tasks.stop();
    // Without the task nothing may be kept back.
    ask(&server, &query("slow.", RecordType::A));
    assert!(captured.finish().ends_with("[ERROR] plugin/errors: 2 slow. A: slow\n"));
}

#[test]
fn the_directive_is_read_or_refused() {
    for accepted in ["errors", "errors stdout", "errors {\nstacktrace\nconsolidate 1s a\nevery\n}"]
    {
        assert!(configure(".", accepted).unwrap().plugin.is_some(), "{accepted}");
    }
    let long = format!("errors {{\nconsolidate 1s {}\n}}", "a".repeat(10_001));
    let cases = [
        (
            "errors /var/log/errors",
            "Corefile:2:8: invalid log file: /var/log/errors (errors are written to standard output only)",
        ),
        (
            "errors stdout twice",
            "Corefile:2:15: Wrong argument count or unexpected line ending after 'twice' (nothing may follow 'stdout' here)",
        ),
        ("errors\nerrors", "Corefile:3:1: this plugin can only be used once per Server Block"),
        (
            "errors {\nconsolidate\nstacktraces\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'consolidate' (add a duration)\n\
             Corefile:4:1: unknown property 'stacktraces' (did you mean 'stacktrace'?)",
        ),
        (
            "errors {\nconsolidate 1s\n}",
            "Corefile:3:13: Wrong argument count or unexpected line ending after '1s' (add a regular expression)",
        ),
        (
            "errors {\nconsolidate 1s (\n}",
            "Corefile:3:16: invalid regular expression: unclosed group",
        ),
        (
            "errors {\nconsolidate 1s a loud\n}",
            "Corefile:3:18: unknown option in consolidate: loud",
        ),
        (
            "errors {\nconsolidate 1s a info warning\n}",
            "Corefile:3:23: multiple log levels specified in consolidate",
        ),
        (
            "errors {\nconsolidate 1s a show_first info\n}",
            "Corefile:3:29: log level must come before show_first in consolidate",
        ),
        (&long, "Corefile:3:16: regex pattern too long: 10001 > 10000"),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
