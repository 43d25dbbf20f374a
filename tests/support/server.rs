//! The program in this process, on ports of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus::program::{Options, Program, StartError};
use periplus::source::Source;
use periplus_core::output::Output;
use periplus_core::setup::PluginKind;

pub use super::ports::{fill_in, free_port};

/// All plugins and a test's own, which comes before them.
pub(crate) fn plugins_with(own: PluginKind) -> Vec<PluginKind> {
    std::iter::once(own).chain(periplus_plugins::ORDER.iter().copied()).collect()
}

/// A running server and the directory that its configuration lies in.
pub(crate) struct TestServer {
    program: Option<Program>,
    pub(crate) address: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
}

impl TestServer {
    /// Starts a Corefile. `PORT` in it stands for a free DNS port, `DIR` for a directory of its own, and `HTTP0` to `HTTP9` for free TCP ports.
    pub(crate) fn start(corefile: &str) -> TestServer {
        TestServer::with_files(corefile, &[])
    }

    /// The same with files in the directory.
    pub(crate) fn with_files(corefile: &str, files: &[(&str, &str)]) -> TestServer {
        TestServer::try_start(corefile, files).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for configurations that may be refused.
    pub(crate) fn try_start(
        corefile: &str,
        files: &[(&str, &str)],
    ) -> Result<TestServer, StartError> {
        TestServer::try_start_with(periplus_plugins::ORDER, corefile, files, 1)
    }

    /// Starts a Corefile with several workers for each address.
    pub(crate) fn with_workers(corefile: &str, workers: usize) -> TestServer {
        TestServer::try_start_with(periplus_plugins::ORDER, corefile, &[], workers)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts with other plugins.
    pub(crate) fn try_start_with(
        plugins: &'static [PluginKind],
        corefile: &str,
        files: &[(&str, &str)],
        workers: usize,
    ) -> Result<TestServer, StartError> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).expect("a file can be written");
        }
        let port = free_port();
        let text = fill_in(corefile, port, &directory.path().to_string_lossy());
        let path = directory.path().join("Corefile");
        std::fs::write(&path, text).expect("the Corefile can be written");
        let program = start(plugins, Source::File(path), port, workers)?;
        let address = program
            .dns_addresses()
            .first()
            .map_or(SocketAddr::from(([127, 0, 0, 1], port)), |(_, local)| {
                SocketAddr::from(([127, 0, 0, 1], local.port()))
            });
        Ok(TestServer { program: Some(program), address, directory })
    }

    /// The running program.
    pub(crate) fn program(&mut self) -> &mut Program {
        self.program.as_mut().expect("the program runs until the test ends")
    }

    /// Reloads, and waits for data that the reload is put off for.
    pub(crate) fn reload(&mut self) -> Result<(), StartError> {
        let program = self.program();
        match program.reload() {
            Err(StartError::NotPrepared(_)) => {}
            result => return result,
        }
        let begun = Instant::now();
        while program.is_put_off() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the data never comes");
            std::thread::sleep(Duration::from_millis(10));
            program.go_on();
        }
        Ok(())
    }

    /// The Corefile, to change it.
    pub(crate) fn corefile(&self) -> PathBuf {
        self.directory.path().join("Corefile")
    }

    /// Writes another Corefile over it; `PORT` and `DIR` are filled in as at the start.
    pub(crate) fn write_corefile(&self, text: &str) {
        let text = fill_in(text, self.address.port(), &self.directory.path().to_string_lossy());
        std::fs::write(self.corefile(), text).expect("the Corefile can be written");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.close();
        }
    }
}

/// Starts any source.
fn start(
    plugins: &'static [PluginKind],
    source: Source,
    port: u16,
    workers: usize,
) -> Result<Program, StartError> {
    let output = Output::new(std::io::sink());
    Program::start(Options {
        plugins,
        source,
        default_port: port,
        workers: Some(workers),
        grace: Duration::from_secs(5),
        output: Arc::clone(&output),
    })
}
