//! The binary as a process: flags, subcommands, exit codes and signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::client::{ask, question, udp};
use crate::support::process::threads;
use crate::support::server::free_port;
use crate::support::skip::skipped;

fn periplus(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_periplus"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = periplus(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// A server process that is ended when the test ends.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Process {
    fn start(corefile: &str, flags: &[&str]) -> Process {
        Process::start_with(periplus(&[]), corefile, flags).expect("the binary runs")
    }

    /// The same for a command that ends with the binary.
    fn start_with(
        mut command: Command,
        corefile: &str,
        flags: &[&str],
    ) -> std::io::Result<Process> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let port = free_port();
        let path = directory.path().join("Corefile");
        std::fs::write(&path, corefile.replace("PORT", &port.to_string()))
            .expect("the Corefile can be written");
        let mut child = command
            .args(["-conf", &path.to_string_lossy()])
            .args(flags)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().expect("the output is piped"));
        Ok(Process { child, output, address: SocketAddr::from(([127, 0, 0, 1], port)), directory })
    }

    /// Reads lines until one contains the text; panics with all of them if the output ends before.
    fn wait_for_line(&mut self, text: &str) -> String {
        let mut all = String::new();
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("the output can be read") > 0 {
            if line.contains(text) {
                return line;
            }
            all.push_str(&std::mem::take(&mut line));
        }
        panic!("no line with {text:?} in:\n{all}");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn check_accepts_a_good_file_and_opens_no_socket() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("Corefile");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket has an address").port();
    std::fs::write(&path, format!(".:{port} {{\n    bind 127.0.0.1\n    whoami\n}}\n"))
        .expect("a file can be written");
    let (code, stdout, stderr) = run(&["check", &path.to_string_lossy()]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
}

#[test]
fn check_shows_all_errors_with_their_places_and_the_way_out() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("Corefile");
    let text = "example.org:99999 {\n    whoami\n}\na\\300b.org:53 .:53 {\n    forwad . 192.0.2.1\n    cache minus\n    dnssec\n    health {\n        lameduk 5s\n    }\n}\n";
    std::fs::write(&path, text).expect("a file can be written");
    let (code, _, stderr) = run(&["check", &path.to_string_lossy()]);
    assert_eq!(code, Some(1));
    for expected in [
        "Corefile:1:1",
        "Corefile:4:1",
        "a\\300b.org.: bad escape",
        "Corefile:5:5",
        "did you mean 'forward'?",
        "Corefile:7:5",
        "does not have yet",
        "Corefile:9:9",
        "did you mean 'lameduck'?",
    ] {
        assert!(stderr.contains(expected), "{expected:?} is missing in:\n{stderr}");
    }
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let (code, _, stderr) = run(&["-conf", "/nonexistent/Corefile"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/nonexistent/Corefile: no such file or directory"), "{stderr}");
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    assert_eq!(run(&["-nonsense"]).0, Some(2));
}

#[test]
fn version_and_plugins_are_printed_as_coredns_prints_them() {
    let (code, stdout, _) = run(&["-version"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with(concat!("Periplus-", env!("CARGO_PKG_VERSION"), "\nlinux/"))
            || !cfg!(target_os = "linux"),
        "{stdout}"
    );
    assert_eq!(stdout.lines().count(), 2);
    let (code, stdout, _) = run(&["-plugins"]);
    let names: Vec<&str> = stdout.lines().collect();
    assert_eq!((code, names.first(), names.last()), (Some(0), Some(&"bind"), Some(&"")));
    assert_eq!(names.len(), periplus_plugins::ORDER.len() + 1);
}

#[test]
fn flags_are_read_as_go_reads_them() {
    for flags in [
        &["-version=true"][..],
        &["--version=1"],
        &["-version", "-version"],
        &["-version=F", "-version=t"],
        &["-conf", "a", "-conf=b", "-quiet", "-quiet=false", "-version"],
    ] {
        let (code, stdout, stderr) = run(flags);
        assert!(stdout.starts_with("Periplus-"), "{flags:?}: {stdout}{stderr}");
        assert_eq!(code, Some(0), "{flags:?}");
    }
    assert!(run(&["-plugins=true"]).1.starts_with("bind\n"));
    for flags in [&["-version=maybe"][..], &["-quiet", "true"]] {
        assert_eq!(run(flags).0, Some(2), "{flags:?}");
    }
    // The last one counts, and false is as if it were not there.
    let (code, stdout, stderr) =
        run(&["-version", "-version=false", "-plugins=false", "-conf", "a", "-conf", "/none/b"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("/none/b"), "{stderr}");
}

#[test]
fn a_corefile_becomes_toml_and_back() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let root = env!("CARGO_MANIFEST_DIR");
    let (code, toml, stderr) = run(&["convert", &format!("{root}/examples/demo/Corefile")]);
    assert_eq!(code, Some(0), "{stderr}");
    let path = directory.path().join("config.toml");
    std::fs::write(&path, &toml).expect("a file can be written");
    let (code, corefile, stderr) = run(&["convert", &path.to_string_lossy()]);
    assert_eq!(code, Some(0), "{stderr}");
    let again = directory.path().join("Corefile");
    std::fs::write(&again, corefile).expect("a file can be written");
    assert_eq!(run(&["convert", &again.to_string_lossy()]).1, toml);
}

#[test]
fn standard_input_is_read_once_and_survives_a_reload() {
    let port = free_port();
    let mut child = periplus(&["-conf", "stdin", "-quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("the input is piped");
    stdin.write_all(b"# in another encoding: \xe9\n").expect("the binary reads");
    write!(stdin, ".:{port} {{\n    hosts {{\n        192.0.2.1 name.test\n    }}\n}}\n")
        .expect("the binary reads");
    drop(stdin);
    let output = BufReader::new(child.stdout.take().expect("the output is piped"));
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut process =
        Process { child, output, address: SocketAddr::from(([127, 0, 0, 1], port)), directory };
    wait_until_answering(process.address);
    process.signal("-USR1");
    process.wait_for_line("Reloading complete");
    assert_eq!(ask(process.address, "name.test", 1).answers.len(), 1);
}

#[test]
fn too_much_on_standard_input_is_an_error() {
    let mut child = periplus(&["-conf", "stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("the input is piped");
    // It ends once it has read one byte more than it takes.
    let _ = stdin.write_all(&vec![b'\n'; 16 * 1024 * 1024 + 1]);
    drop(stdin);
    let output = child.wait_with_output().expect("the process ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("larger than 16 MiB"), "{stderr}");
}

#[test]
fn the_demo_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("a temporary directory can be made");
    let files = || std::fs::read_dir(temporary.path()).expect("a directory").count();
    let port = free_port();
    let mut command = periplus(&["demo", "-p", &port.to_string()]);
    let mut child =
        command.env("TMPDIR", temporary.path()).stdout(Stdio::piped()).spawn().expect("it runs");
    let output = BufReader::new(child.stdout.take().expect("the output is piped"));
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut demo =
        Process { child, output, address: SocketAddr::from(([127, 0, 0, 1], port)), directory };
    wait_until_answering(demo.address);
    let begun = Instant::now();
    while ask(demo.address, "web.shop.svc.cluster.local", 1).answers.len() != 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the demo's cluster is not known");
        std::thread::sleep(Duration::from_millis(20));
    }
    let written = std::fs::read_dir(temporary.path()).expect("a directory").next();
    let metadata = written.expect("the demo's directory").and_then(|written| written.metadata());
    assert_eq!(metadata.expect("it is there").permissions().mode() & 0o777, 0o700);
    demo.signal("-INT");
    assert!(demo.child.wait().expect("the process ends").success());
    assert_eq!(files(), 0);
}

#[test]
fn signals_hurry_a_server_that_drains() {
    let corefile =
        ".:PORT {\n    health 127.0.0.1:HTTP {\n        lameduck 1h\n    }\n    whoami\n}\n";
    let corefile = corefile.replace("HTTP", &free_port().to_string());
    for (signal, line) in [
        ("-INT", "[INFO] SIGINT: Shutting down"),
        ("-QUIT", "[INFO] SIGQUIT: Quitting process immediately"),
    ] {
        let mut process = Process::start(&corefile, &[]);
        wait_until_answering(process.address);
        process.signal("-TERM");
        process.wait_for_line("Going into lameduck mode for 1h");
        process.signal(signal);
        process.wait_for_line(line);
        let status = process.child.wait().expect("the process ends");
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

#[test]
fn a_second_interrupt_forces_the_end() {
    // An upstream that never answers keeps the server from closing at once.
    let upstream = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let silent = upstream.local_addr().expect("a bound socket has an address");
    let corefile = format!(".:PORT {{\n    forward . {silent}\n}}\n");
    let mut process = Process::start(&corefile, &["-pidfile", "pid"]);
    process.wait_for_line("Periplus-");
    wait_until_answering(process.address);
    let pidfile = process.directory.path().join("pid");
    let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.send_to(&question(1, "a.test", 1, None), process.address).expect("it is sent");
    upstream.recv(&mut [0; 512]).expect("the question is forwarded");
    process.signal("-INT");
    process.wait_for_line("[INFO] SIGINT: Shutting down");
    process.signal("-INT");
    process.wait_for_line("[INFO] SIGINT: Force quit");
    assert_eq!(process.child.wait().expect("the process ends").code(), Some(2));
    assert!(!pidfile.exists());
}

#[test]
fn the_signals_do_what_coredns_does() {
    let corefile = ".:PORT {\n    whoami\n}\n";
    for (signal, line) in [
        ("-TERM", "[INFO] SIGTERM: Shutting down"),
        ("-INT", "[INFO] SIGINT: Shutting down"),
        ("-QUIT", "[INFO] SIGQUIT: Quitting"),
    ] {
        let mut process = Process::start(corefile, &["-pidfile", "pid"]);
        process.wait_for_line("Periplus-");
        let pidfile = process.directory.path().join("pid");
        wait_until_answering(process.address);
        let pid = std::fs::read_to_string(&pidfile).expect("the file is there after the start");
        assert_eq!(pid, format!("{}\n", process.child.id()));
        process.signal("-HUP");
        process.signal(signal);
        process.wait_for_line(line);
        let status = process.child.wait().expect("the process ends");
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(!pidfile.exists(), "{signal} removes the pid file");
    }
}

#[test]
fn a_bad_file_at_a_reload_is_logged_with_its_line() {
    let mut process = Process::start(".:PORT {\n    whoami\n}\n", &[]);
    wait_until_answering(process.address);
    std::fs::write(process.directory.path().join("Corefile"), ".:53 {\n    whoamy\n}\n")
        .expect("the file can be written");
    process.signal("-USR1");
    let line = process.wait_for_line("[ERROR] Restart failed");
    assert!(line.contains("Corefile:2:5") && line.contains("whoami"), "{line}");
    assert!(
        udp(process.address, &question(1, "example.org", 1, None)).is_some(),
        "the old one serves on"
    );
}

#[test]
fn the_banner_names_zones_and_version() {
    let mut process =
        Process::start("example.org:PORT {\n    bind 127.0.0.1\n    whoami\n}\n", &[]);
    let first = process.wait_for_line("example.org");
    assert_eq!(first, format!("example.org.:{} on 127.0.0.1\n", process.address.port()));
    process.signal("-INT");
    let mut rest = String::new();
    process.output.read_to_string(&mut rest).expect("the output is UTF-8");
    assert!(rest.starts_with("Periplus-"), "{rest}");
}

/// The sockets are open when the first answer comes; until then the port refuses.
fn wait_until_answering(address: SocketAddr) {
    for _ in 0..1200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{address} does not answer");
}

#[test]
fn whoever_does_not_read_the_log_costs_no_answer() {
    // More than fits the pipe and the buffer together.
    const QUESTIONS: u16 = 8_000;
    let mut server = Process::start(".:PORT {\n    log\n    whoami\n}\n", &[]);
    server.wait_for_line("Periplus-");
    for id in 0..QUESTIONS {
        let message = question(id, "a-name-that-makes-the-line-longer.example.org.", 1, None);
        let answer = udp(server.address, &message).expect("an answer comes though nobody reads");
        assert_eq!(answer[..2], id.to_be_bytes());
    }
    // Once somebody reads again, the log says what it has lost.
    server.wait_for_line("log lines dropped: standard output is too slow");
    assert!(udp(server.address, &question(1, "example.org.", 1, None)).is_some());
}

#[test]
#[cfg(target_os = "linux")]
fn there_are_as_many_threads_as_cpus_that_the_process_may_use() {
    let corefile = ".:PORT {\n    bind 127.0.0.1\n    whoami\n}\n";
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let check = |mut server: Process, expected: usize| {
        server.wait_for_line("linux/");
        // A thread has its name once it has run.
        let begun = Instant::now();
        loop {
            let names = threads(server.child.id());
            let count = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
            if (count("runtime"), count("udp-")) == (expected, expected) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{expected}: {names:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    check(Process::start(corefile, &[]), cpus);
    // A quota is read by the same function of the standard library as the CPUs that are allowed.
    let status = std::fs::read_to_string("/proc/self/status").expect("this process runs");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first: String =
        allowed.unwrap_or("0").trim().chars().take_while(char::is_ascii_digit).collect();
    let mut command = Command::new("taskset");
    command.args(["-c", &first, env!("CARGO_BIN_EXE_periplus")]).stdin(Stdio::null());
    match Process::start_with(command, corefile, &[]) {
        Ok(server) => check(server, 1),
        Err(error) => skipped(&format!("workers on one CPU: taskset: {error}")),
    }
}

#[test]
fn as_many_files_may_be_open_as_the_process_may_ask_for() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 200 && ulimit -Hn 5000 && exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_periplus")).stdin(Stdio::null());
    let mut server =
        Process::start_with(command, ".:PORT {\n    whoami\n}\n", &[]).expect("there is a shell");
    server.wait_for_line("linux/");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id()));
    let limits = limits.expect("the process runs");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let words: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(words[3..5], ["5000", "5000"], "{files}");
}
