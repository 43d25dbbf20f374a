//! The command line: CoreDNS's flags as they are, long options of our own, and subcommands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use periplus_core::corefile::{Corefile, Loader, to_corefile, to_toml, unprintable_words};
use periplus_core::metrics::Registry;
use periplus_core::output::Output;
use periplus_core::setup::{BindAddress, PluginKind};

use crate::configuration::{self, NOT_YET, Surroundings, working_directory};
use crate::demo::{self, Demo};
use crate::events;
use crate::program::{Options, Program};
use crate::signals::{self, Signals};
use crate::source::{DEFAULT_FILE, Source};

/// Flags that CoreDNS spells with one dash. Go's flag package takes one or two, and `-flag=value`.
const SINGLE_DASH: &[&str] = &["conf", "dns.port", "pidfile", "plugins", "quiet", "version"];

/// A Kubernetes-aware DNS server that takes CoreDNS's place.
#[derive(Parser)]
#[command(
    name = "periplus",
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    args_override_self = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Args)]
struct Serve {
    /// Corefile to load (default "Corefile"); `stdin` reads standard input; `*.toml` is read as TOML
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Default port for plain DNS
    #[arg(long = "dns.port", short = 'p', value_name = "PORT", default_value_t = 53)]
    port: u16,
    /// File to write the process id to
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// List the plugins and exit
    #[arg(long, action = ArgAction::Set, value_parser = go_bool, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", hide_default_value = true)]
    plugins: bool,
    /// Print no banner
    #[arg(long, action = ArgAction::Set, value_parser = go_bool, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", hide_default_value = true)]
    quiet: bool,
    /// Show the version and exit
    #[arg(long, action = ArgAction::Set, value_parser = go_bool, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", hide_default_value = true)]
    version: bool,
    /// Worker threads for each UDP address (default: one per CPU that the process may use)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Longest time, in seconds, to wait for traffic to end after SIGTERM
    #[arg(long = "grace-period", value_name = "SECONDS", default_value_t = 60)]
    grace: u64,
}

/// A truth value as Go's flag package takes it.
fn go_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false"),
    }
}

#[derive(Subcommand)]
enum Command {
    /// Check a configuration without opening a socket: exits 0 if it is good, 1 if it is not
    Check {
        /// The file (default "Corefile")
        file: Option<PathBuf>,
    },
    /// Print a configuration in the other form: a Corefile as TOML, TOML as a Corefile
    Convert {
        /// The file (default "Corefile")
        file: Option<PathBuf>,
    },
    /// Serve the embedded demo cluster
    Demo {
        /// Port for DNS
        #[arg(long, short = 'p', default_value_t = 1053)]
        port: u16,
    },
}

/// Runs the program with these plugins. A binary with one more plugin is a `main` that calls this with a longer list.
pub fn main(plugins: &'static [PluginKind]) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Some(Command::Check { file }) => check(plugins, file),
        Some(Command::Convert { file }) => convert(file),
        Some(Command::Demo { port }) => match Demo::new() {
            Ok(demo) => {
                println!("{}", demo::hints(port));
                serve(plugins, Serve { port, quiet: true, ..Serve::defaults() }, demo.source())
            }
            Err(error) => fail(format!("the demo's files cannot be written: {error}")),
        },
        None => start(plugins, cli.serve),
    }
}

impl Serve {
    fn defaults() -> Serve {
        Cli::parse_from(["periplus"]).serve
    }
}

/// Turns CoreDNS's single-dash flags into long options.
fn arguments(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    arguments.map(|argument| {
        let single = argument
            .to_str()
            .and_then(|text| text.strip_prefix('-'))
            .filter(|rest| !rest.starts_with('-'));
        let known =
            single.filter(|rest| SINGLE_DASH.contains(&rest.split('=').next().unwrap_or_default()));
        known.map_or_else(|| argument.clone(), |rest| format!("--{rest}").into())
    })
}

fn start(plugins: &'static [PluginKind], serve_with: Serve) -> ExitCode {
    if serve_with.version {
        println!("{}", version());
        return ExitCode::SUCCESS;
    }
    if serve_with.plugins {
        let mut names: Vec<&str> = plugins.iter().map(|kind| kind.name).collect();
        names.sort();
        println!("{}\n", names.join("\n"));
        return ExitCode::SUCCESS;
    }
    let source = match &serve_with.conf {
        Some(path) if path.as_os_str() == "stdin" => match Source::standard_input() {
            Ok(source) => source,
            Err(error) => {
                return fail(format!("loading the configuration from standard input: {error}"));
            }
        },
        Some(path) => Source::File(path.clone()),
        None => Source::Default,
    };
    serve(plugins, serve_with, source)
}

fn serve(plugins: &'static [PluginKind], serve_with: Serve, source: Source) -> ExitCode {
    let output = Output::new(std::io::stdout());
    events::install(Arc::clone(&output));
    let options = Options {
        plugins,
        source,
        default_port: serve_with.port,
        workers: serve_with.workers.map(usize::from),
        grace: Duration::from_secs(serve_with.grace),
        output: Arc::clone(&output),
    };
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(format!("cannot listen for signals: {error}")),
    };
    let program = match Program::start(options) {
        Ok(program) => program,
        Err(error) => {
            output.close();
            return fail(error.to_string());
        }
    };
    if !serve_with.quiet {
        output.line(|line| line.push_str(&banner(&program)));
    }
    if let Some(path) = &serve_with.pidfile
        && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
    {
        tracing::error!("Could not write pidfile {}: {error}", path.display());
    }
    let code = signals::run(program, signals);
    if let Some(path) = &serve_with.pidfile {
        let _ = std::fs::remove_file(path);
    }
    output.close();
    code
}

fn banner(program: &Program) -> String {
    let mut lines = Vec::new();
    for (address, zones) in program.zones() {
        for zone in zones {
            let place = match address.host {
                BindAddress::Wildcard => String::new(),
                BindAddress::Address(host, _) => format!(" on {host}"),
            };
            lines.push(format!("{zone}:{}{place}", address.port));
        }
    }
    lines.push(version());
    lines.join("\n")
}

fn version() -> String {
    format!(
        "Periplus-{}\n{}/{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

fn check(plugins: &'static [PluginKind], file: Option<PathBuf>) -> ExitCode {
    let path = file.unwrap_or_else(|| DEFAULT_FILE.into());
    let surroundings = Surroundings::new(
        plugins,
        53,
        working_directory(),
        Arc::new(Registry::new(1)),
        Output::new(std::io::sink()),
    );
    let checked = configuration::load(&Source::File(path.clone()), &surroundings);
    match checked {
        Ok((corefile, _)) => {
            if !corefile.warnings.is_empty() {
                eprintln!("{}", corefile.warnings.render(&corefile.sources));
            }
            println!("{}: {} server block(s), no error", path.display(), corefile.blocks.len());
            ExitCode::SUCCESS
        }
        Err(failed) => fail(failed.to_string()),
    }
}

fn convert(file: Option<PathBuf>) -> ExitCode {
    let path = file.unwrap_or_else(|| DEFAULT_FILE.into());
    let corefile: Corefile = match Loader::new().keeping_references().load(&path) {
        Ok(corefile) => corefile,
        Err(failed) => return fail(failed.to_string()),
    };
    if path.extension().is_some_and(|extension| extension == "toml") {
        let unprintable = unprintable_words(&corefile);
        if !unprintable.is_empty() {
            return fail(unprintable.render(&corefile.sources));
        }
        print!("{}", to_corefile(&corefile));
    } else {
        print!("{}", to_toml(&corefile));
    }
    ExitCode::SUCCESS
}

fn fail(message: String) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

/// The plugins that CoreDNS has and this program lacks, for documentation and tests.
pub fn missing_plugins() -> &'static [&'static str] {
    NOT_YET
}
