//! From a path or a text to a [`Corefile`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::environment::{self, EnvironmentError, Lookup};
use super::glob::clean;
use super::parser::Parser;
use super::{Corefile, Diagnostic, Diagnostics, ServerBlock, Sources, read_toml};

/// The largest file that is read; a Kubernetes ConfigMap holds at most 1 MiB.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Loads a configuration with the environment of the process.
pub fn load(path: &Path) -> Result<Corefile, Failed> {
    Loader::new().load(path)
}

/// Parses a text as a Corefile with the environment of the process.
pub fn parse(name: &str, text: &str, base_dir: &Path) -> Result<Corefile, Failed> {
    Loader::new().parse(name, text, base_dir)
}

/// How to load a configuration.
pub struct Loader {
    environment: Box<Lookup>,
    keep_references: bool,
}

impl Loader {
    /// With the environment of the process.
    pub fn new() -> Self {
        Self::with_environment(|name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// With another environment.
    pub fn with_environment(
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { environment: Box::new(environment), keep_references: false }
    }

    /// Leaves references to environment variables in words as they are written, as a conversion
    /// into the other form needs it. What is to be imported is still resolved.
    pub fn keeping_references(mut self) -> Self {
        self.keep_references = true;
        self
    }

    /// Loads a file: as TOML when its name ends in `.toml`, otherwise as a Corefile.
    pub fn load(&self, path: &Path) -> Result<Corefile, Failed> {
        let text = read(path).map_err(|error| {
            let error = Diagnostic::general(format!("open {}: {}", path.display(), reason(&error)));
            Failed::outright(error)
        })?;
        let directory = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let directory = directory.parent().unwrap_or(Path::new("/"));
        let name = path.to_string_lossy();
        if path.extension().is_some_and(|extension| extension == "toml") {
            self.parse_toml(&name, &text)
        } else {
            self.parse(&name, &text, directory)
        }
    }

    /// Parses a text as a Corefile; relative imports start from `base_dir`.
    pub fn parse(&self, name: &str, text: &str, base_dir: &Path) -> Result<Corefile, Failed> {
        let base_dir = std::path::absolute(base_dir).unwrap_or_else(|_| base_dir.to_owned());
        Parser::new(self).parse(name, text, clean(&base_dir, Path::new("")))
    }

    /// Parses a text as TOML.
    pub fn parse_toml(&self, name: &str, text: &str) -> Result<Corefile, Failed> {
        read_toml::parse(self, name, text)
    }

    /// A word with the values of environment variables put in, unless references are kept.
    pub(super) fn expand_word(&self, text: &str) -> Result<String, EnvironmentError> {
        if self.keep_references { Ok(text.to_owned()) } else { self.expand(text) }
    }

    /// A text with the values of environment variables put in.
    pub(super) fn expand(&self, text: &str) -> Result<String, EnvironmentError> {
        environment::expand(text, &*self.environment)
    }
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

/// What a configuration was read from besides the text itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The imported files, each once, and in a configuration that failed also those that are not there.
    pub files: Vec<PathBuf>,
    /// The import patterns that were looked up, as absolute paths.
    pub globs: Vec<PathBuf>,
}

/// A configuration that cannot be used: all that is wrong with it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Errors, and the warnings found on the way.
    pub diagnostics: Diagnostics,
    /// The texts they point into.
    pub sources: Sources,
    /// What could be read all the same, so that whoever knows the plugins can report misspelled
    /// directives in the same go.
    pub blocks: Vec<ServerBlock>,
    /// What it was read from as far as that went: a change there may mend it.
    pub inputs: Inputs,
}

impl Failed {
    fn outright(error: Diagnostic) -> Self {
        Self {
            diagnostics: error.into(),
            sources: Sources::default(),
            blocks: Vec::new(),
            inputs: Inputs::default(),
        }
    }

    /// The failure, or the configuration when there is no error.
    pub(super) fn unless_usable(
        mut errors: Diagnostics,
        corefile: Corefile,
    ) -> Result<Corefile, Self> {
        if !errors.has_errors() {
            return Ok(corefile);
        }
        errors.extend(corefile.warnings);
        let Corefile { blocks, sources, inputs, .. } = corefile;
        Err(Self { diagnostics: errors, sources, blocks, inputs })
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostics.render(&self.sources))
    }
}

impl std::error::Error for Failed {}

/// Reads a file of bounded size. Bytes that are no UTF-8 become U+FFFD, as in CoreDNS; a comment
/// in another encoding must not keep a server from starting.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("larger than {} MiB", MAX_FILE_BYTES / (1024 * 1024));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// The reason of an I/O error in the words Go has for it.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Refuses a text whose places 32 bits could not name; files this large are not even read.
pub(super) fn too_large(name: &str, text: &str) -> Option<Failed> {
    let limit = MAX_FILE_BYTES / (1024 * 1024);
    (text.len() as u64 > MAX_FILE_BYTES).then(|| {
        Failed::outright(Diagnostic::general(format!("{name} is larger than {limit} MiB")))
    })
}
