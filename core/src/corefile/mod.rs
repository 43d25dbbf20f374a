//! The Corefile language: from text to words that still know where they were written.
//!
//! ```text
//!  Corefile --> lexer --> stream of tokens --> parser --\
//!                 ^         (imports and snippets         \
//!                 |          are spliced in here)          +--> Corefile --> keys, plugin setups
//!               files                                     /        |
//!  *.toml --> toml crate ------------> reader -----------/         +--> printed as either form
//! ```
//!
//! Both forms yield one model, [`Corefile`]: server blocks of keys and directives, directives of
//! words and nested lines. The model knows no plugin; whoever reads a directive does so through
//! [`Words`], whose errors name the word found, the place and what is allowed. Every function
//! here goes on after an error where it can, so that one run shows all errors of a file.
//!
//! The language is CoreDNS's, with these differences, all of them in places where CoreDNS's
//! reader does something nobody asks for:
//!
//! - A quoted `"{"`, `"}"`, `"import"`, `"(name)"` or `"key,"` is a plain word.
//! - Blocks nest properly; `}` on the line of the last word ends a nested block.
//! - A `{` on the line below its directive is an error instead of being ignored.
//! - An environment variable whose value contains itself is an error instead of an endless loop.
//! - Imports that go round in a circle are refused at once, and all input is bounded.
//! - A key such as `http://example.org` is an unknown scheme and not a zone of that name, a `}`
//!   among keys is a brace too much and not a zone `}.` (at the very end it is only warned about),
//!   and a comma may stand alone.
//! - A snippet without a block is an error and not a zone called `(name).`.

mod arguments;
mod cidr;
mod diagnostic;
mod duration;
mod environment;
mod failed;
mod file;
mod fingerprint;
mod glob;
mod import;
mod imports;
mod keys;
mod lexer;
mod limits;
mod loader;
mod model;
mod parser;
mod print;
mod read_toml;
mod render;
mod source;
mod stream;
mod suggest;
#[cfg(test)]
mod tests;
mod words;

pub use arguments::{fallthrough, only_once, zones};
pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity, shown};
pub use duration::{DurationError, format_go_duration, parse_go_duration, print_go_duration};
pub use failed::{Failed, Inputs};
pub use file::read_text;
pub use fingerprint::Fingerprint;
pub use keys::{DEFAULT_PORT, Key, Scheme, ZoneError, normalize_zone, parse_key};
pub use loader::{Loader, load, parse};
pub use model::{Corefile, Directive, Line, ServerBlock, Word};
pub use print::{to_corefile, to_toml, unprintable_words};
pub use source::{SourceId, Sources, Span};
pub use suggest::{did_you_mean, unknown_directive, unknown_property};
pub use words::Words;
