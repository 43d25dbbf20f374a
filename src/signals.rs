//! Waiting for signals and for the next look at the configuration, and what each does.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use periplus_core::setup::ReloadInterval;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::program::{Program, StartError};

/// How often to look, where `reload` is configured, whether a file of the configuration has changed: a change is in force after two
/// looks. Also how often to look whether the data is there that a reload was put off for.
const LOOK: Duration = Duration::from_millis(500);

/// How often to look whether the process may use another number of CPUs.
const LIMITS: Duration = Duration::from_secs(5);

/// What wakes the main thread.
enum Event {
    Terminate,
    Interrupt,
    Quit,
    Reload,
    Look,
}

/// Serves until a signal ends the process (CoreDNS's meaning of each signal).
pub fn run(mut program: Program, mut signals: Signals) -> ExitCode {
    // When the configuration is to be read again, changed or not.
    let mut due: Option<Instant> = None;
    let mut limits_due = Instant::now() + LIMITS;
    loop {
        due = program
            .reload_interval()
            .map(|interval| due.unwrap_or_else(|| Instant::now() + next_read(interval)));
        let until = |due: Instant| due.saturating_duration_since(Instant::now());
        let look = if program.is_put_off() { LOOK } else { LIMITS };
        let pause = due.map_or(look, |due| until(due).min(LOOK)).min(until(limits_due));
        match signals.next(pause) {
            Event::Terminate => {
                tracing::info!("SIGTERM: Shutting down servers then terminating");
                return stop(program, signals, false);
            }
            Event::Interrupt => {
                tracing::info!("SIGINT: Shutting down");
                return stop(program, signals, true);
            }
            Event::Quit => return quit(),
            Event::Reload => {
                tracing::info!("SIGUSR1: Reloading");
                due = None;
                if program.reload().is_err_and(|error| !matches!(error, StartError::NotPrepared(_)))
                {
                    tracing::error!("SIGUSR1: the configuration before stays in force");
                }
            }
            Event::Look => {
                if limits_due <= Instant::now() {
                    program.follow_limits();
                    limits_due = Instant::now() + LIMITS;
                }
                if let Some(read) = due
                    && (program.files_have_changed() || read <= Instant::now())
                {
                    due = None;
                    program.reload_if_changed();
                }
                program.go_on();
            }
        }
    }
}

/// Drains and closes the program, or only closes it if it was interrupted. SIGINT ends the draining, and a second one the process.
fn stop(mut program: Program, signals: Signals, mut interrupted: bool) -> ExitCode {
    let hurry = CancellationToken::new();
    let (stopped, mut has_stopped) = oneshot::channel();
    std::thread::spawn({
        let hurry = hurry.clone();
        move || {
            if !interrupted {
                program.drain(&hurry);
            }
            program.close();
            let _ = stopped.send(());
        }
    });
    let Signals { runtime, quit: mut quits, interrupt: mut interrupts, .. } = signals;
    runtime.block_on(async {
        loop {
            tokio::select! {
                _ = &mut has_stopped => return ExitCode::SUCCESS,
                _ = quits.recv() => return quit(),
                _ = interrupts.recv() => {
                    if interrupted {
                        tracing::info!("SIGINT: Force quit");
                        return ExitCode::from(2);
                    }
                    tracing::info!("SIGINT: Shutting down");
                    interrupted = true;
                    hurry.cancel();
                }
            }
        }
    })
}

fn quit() -> ExitCode {
    tracing::info!("SIGQUIT: Quitting process immediately");
    ExitCode::SUCCESS
}

/// How long until the configuration is read again.
fn next_read(reload: ReloadInterval) -> Duration {
    let half = reload.jitter.as_secs_f64() / 2.0;
    let varied = reload.interval.as_secs_f64() + half * (2.0 * fastrand::f64() - 1.0);
    Duration::from_secs_f64(varied.max(0.1))
}

/// The signals that mean something to the process. From when this is made on none of them ends it unasked, or is ignored by the kernel because
/// the process is the first of its container: so it is made before anything is opened.
pub struct Signals {
    /// They are waited for on the main thread alone.
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    reload: Signal,
    /// Taken and ignored, so that it does not end the process.
    hang_up: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Takes them from the kernel's defaults.
    pub fn new() -> std::io::Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let take = |kind| runtime.block_on(async { signal(kind) });
        Ok(Signals {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            quit: take(SignalKind::quit())?,
            reload: take(SignalKind::user_defined1())?,
            hang_up: take(SignalKind::hangup())?,
            upgrade: take(SignalKind::user_defined2())?,
            runtime,
        })
    }

    fn next(&mut self, pause: Duration) -> Event {
        let Signals { runtime, terminate, interrupt, quit, reload, hang_up, upgrade } = self;
        runtime.block_on(async {
            let pause = tokio::time::sleep(pause);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    _ = terminate.recv() => return Event::Terminate,
                    _ = interrupt.recv() => return Event::Interrupt,
                    _ = quit.recv() => return Event::Quit,
                    _ = reload.recv() => return Event::Reload,
                    _ = hang_up.recv() => {}
                    _ = upgrade.recv() => {}
                    () = &mut pause => return Event::Look,
                }
            }
        })
    }
}
