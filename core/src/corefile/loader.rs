//! From a path or a text to a [`Corefile`].

use std::fmt;
use std::path::Path;

use super::diagnostic::Diagnostic;
use super::environment::Environment;
use super::failed::Failed;
use super::file::{read, reason};
use super::glob::clean;
use super::model::Corefile;
use super::parser::Parser;
use super::read_toml;

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
    environment: Environment,
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
        Self { environment: Environment::new(environment) }
    }

    /// Leaves references to environment variables in words as they are written, as a conversion
    /// into the other form needs it. What is to be imported is still resolved.
    pub fn keeping_references(self) -> Self {
        Self { environment: self.environment.keeping_references() }
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
        Parser::new(&self.environment).parse(name, text, clean(&base_dir, Path::new("")))
    }

    /// Parses a text as TOML.
    pub fn parse_toml(&self, name: &str, text: &str) -> Result<Corefile, Failed> {
        read_toml::parse(&self.environment, name, text)
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
