//! What a panic in a plugin costs: the one query, or with `debug` the process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use periplus::events;
use periplus::program::{Options, Program};
use periplus::source::Source;
use periplus_core::codes::RecordType;
use periplus_core::output::Output;
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet};
use periplus_core::reply::Reply;
use periplus_core::setup::PluginKind;

use crate::support::client::{ask, question, tcp, udp, udp_silence};
use crate::support::server::{free_port, plugins_with};

/// Where a child finds its Corefile.
const COREFILE: &str = "PERIPLUS_TEST_PANICS";

static PLUGINS: LazyLock<Vec<PluginKind>> = LazyLock::new(|| {
    plugins_with(PluginKind { name: "trouble", setup: |_| Ok(Some(Arc::new(Trouble))) })
});

/// Panics, at once or in what is waited for.
struct Trouble;

impl Plugin for Trouble {
    fn name(&self) -> &'static str {
        "trouble"
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        match query.name().to_string().as_str() {
            "now.test." => panic!("trouble {}", query.id),
            "later.test." => Outcome::later(async { panic!("trouble later") }),
            "bad.test." => bad(query).into(),
            "late.bad.test." => {
                let answer = bad(query);
                Outcome::later(async { answer.into() })
            }
            _ => next.run(query),
        }
    }
}

/// A reply that cannot be written: its owner begins behind the question's end.
fn bad(query: &Query) -> Reply {
    let mut reply = Reply::authoritative(query, "trouble");
    let set = RecordSet::one(RecordType::A, 5, &[192, 0, 2, 1]);
    reply.answer.push(Entry::of(Owner::QuestionSuffix(200), set));
    reply
}

/// A server in a process of its own: this test again, which finds a Corefile then.
fn start(debug: &str) -> (Child, ChildStdin, SocketAddr) {
    let port = free_port();
    let mut child = Command::new(std::env::current_exe().expect("this test runs"))
        .args(["--exact", "panics::the_server_of_the_other_tests", "--nocapture"])
        // Stacks would not fit the pipe, which nobody reads meanwhile.
        .env_remove("RUST_BACKTRACE")
        .env(COREFILE, format!(".:{port} {{\n{debug}\ntrouble\nwhoami\n}}\n"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test runs again");
    let input = child.stdin.take().expect("the input is piped");
    let mut output = BufReader::new(child.stdout.take().expect("the output is piped"));
    let mut line = String::new();
    while !line.contains("it serves") {
        line.clear();
        assert!(output.read_line(&mut line).expect("the output can be read") > 0);
    }
    child.stdout = Some(output.into_inner());
    (child, input, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[test]
fn the_server_of_the_other_tests() {
    let Ok(text) = std::env::var(COREFILE) else { return };
    let output = Output::new(std::io::stdout());
    events::install(Arc::clone(&output));
    let program = Program::start(Options {
        plugins: &PLUGINS,
        source: Source::Text { name: "Corefile".into(), text },
        default_port: 53,
        workers: Some(1),
        grace: Duration::ZERO,
        output,
    });
    let _program = program.expect("it starts");
    println!("it serves");
    // Until the other test drops the input, or ends.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn with_debug_a_panic_ends_the_process() {
    for name in ["now.test", "later.test"] {
        for over_tcp in [false, true] {
            let (mut child, _input, address) = start("debug");
            let message = question(1, name, 1, None);
            let answer =
                if over_tcp { tcp(address, &message) } else { udp_silence(address, &message) };
            assert_eq!(answer, None);
            let status = (0..1200).find_map(|_| {
                std::thread::sleep(Duration::from_millis(50));
                child.try_wait().expect("it is a child of this process")
            });
            let _ = child.kill();
            assert_eq!(status.and_then(|status| status.code()), Some(2), "{name} {over_tcp}");
            let (mut stdout, mut stderr) = (String::new(), String::new());
            let _ = child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut stdout));
            let _ = child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut stderr));
            assert!(stdout.contains("[ERROR] Panic in server: \"dns://:"), "{stdout}");
            assert!(stderr.contains("tests/panics.rs:"), "{stderr}");
        }
    }
}

#[test]
fn without_it_a_panic_costs_the_query_and_few_lines() {
    let (mut child, _input, address) = start("");
    for id in 0..100 {
        let name = ["now.test", "later.test", "bad.test", "late.bad.test"][usize::from(id % 4)];
        let message = question(id, name, 1, None);
        let answer = if id % 8 < 4 { udp(address, &message) } else { tcp(address, &message) };
        let answer = answer.unwrap_or_else(|| panic!("no answer to {name}, {id}"));
        assert_eq!(answer[3] & 15, 2, "SERVFAIL");
    }
    assert_eq!(ask(address, "well.test", 1).additionals.len(), 2);
    child.kill().expect("it still runs");
    let output = child.wait_with_output().expect("the process ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    // Of each of the three places.
    assert_eq!(stderr.matches("panicked at").count(), 3 * 8, "{stderr}");
}
