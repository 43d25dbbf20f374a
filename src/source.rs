//! Where the configuration comes from.

use std::path::{Path, PathBuf};

use periplus_core::corefile::{Corefile, Failed, Loader, read_text};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "Corefile";

/// Where the configuration comes from, at the start and at each reload.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file named by the operator.
    File(PathBuf),
    /// `./Corefile` if it is there, otherwise the built-in configuration.
    Default,
    /// A text that does not change: standard input, read once, or the demo's.
    Text {
        /// What diagnostics call it.
        name: String,
        /// The Corefile.
        text: String,
    },
}

impl Source {
    /// Reads standard input to its end. Reading it only once keeps a reload from finding it empty, as it does in CoreDNS.
    pub fn standard_input() -> std::io::Result<Source> {
        let text = read_text(std::io::stdin().lock())?;
        Ok(Source::Text { name: "/dev/stdin".into(), text })
    }

    /// The file that it is read from first, if any; it need not be there.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Source::File(path) => Some(path),
            Source::Default => Some(Path::new(DEFAULT_FILE)),
            Source::Text { .. } => None,
        }
    }

    /// Loads it. A file without any server block stands for the built-in configuration.
    pub fn load(&self, default_port: u16) -> Result<Corefile, Failed> {
        let loader = Loader::new();
        let corefile = match self {
            Source::File(path) => loader.load(path)?,
            Source::Default if Path::new(DEFAULT_FILE).exists() => {
                loader.load(Path::new(DEFAULT_FILE))?
            }
            Source::Default => built_in(default_port)?,
            Source::Text { name, text } => loader.parse(name, text, Path::new("."))?,
        };
        if corefile.blocks.is_empty() { built_in(default_port) } else { Ok(corefile) }
    }
}

/// CoreDNS's built-in configuration.
fn built_in(port: u16) -> Result<Corefile, Failed> {
    Loader::new().parse(
        DEFAULT_FILE,
        &format!(".:{port} {{\n    whoami\n    log\n}}\n"),
        Path::new("."),
    )
}
