//! What a configuration was read from, and one that cannot be used.

use std::fmt;
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::model::{Corefile, ServerBlock};
use super::source::Sources;

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
    /// A single error, about no place.
    pub(super) fn outright(error: Diagnostic) -> Self {
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
