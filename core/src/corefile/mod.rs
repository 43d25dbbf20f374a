//! The Corefile language (signatures; the implementation is merged on top of this).
#![allow(missing_docs, unused_variables)]
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme { Dns, Tls, Quic, Grpc, Https, Https3 }
impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("dns") }
}
#[derive(Clone, Debug)]
pub struct Key { pub scheme: Scheme, pub zone: String, pub port: u16 }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span { pub line: u32, pub column: u32 }
#[derive(Clone, Debug)]
pub struct Word { pub text: String, pub span: Span }
#[derive(Clone, Debug)]
pub struct Directive { pub name: Word, pub arguments: Vec<Word>, pub body: Option<Vec<Line>> }
#[derive(Clone, Debug)]
pub struct Line { pub name: Word, pub arguments: Vec<Word>, pub body: Option<Vec<Line>> }
#[derive(Clone, Debug)]
pub struct Diagnostic { pub message: String }
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(Vec<Diagnostic>);
pub struct Words<'a> { words: &'a [Word] }
#[derive(Clone, Debug)]
pub struct ServerBlock { pub keys: Vec<Word>, pub directives: Vec<Directive> }
pub struct Sources;
#[derive(Clone, Debug)]
pub struct Corefile { pub blocks: Vec<ServerBlock> }
pub struct Failed { pub diagnostics: Diagnostics, pub sources: Sources }
pub fn parse(name: &str, text: &str, base_dir: &std::path::Path) -> Result<Corefile, Failed> { unimplemented!() }
impl Diagnostic {
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic { unimplemented!() }
    pub fn warning(span: Span, message: impl Into<String>) -> Diagnostic { unimplemented!() }
    pub fn with_help(self, help: impl Into<String>) -> Diagnostic { self }
}
impl From<Diagnostic> for Diagnostics { fn from(d: Diagnostic) -> Self { Diagnostics(vec![d]) } }
impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {}
    pub fn extend(&mut self, other: Diagnostics) {}
    pub fn is_empty(&self) -> bool { self.0.is_empty() }
    pub fn has_errors(&self) -> bool { unimplemented!() }
    pub fn render(&self, sources: &Sources) -> String { unimplemented!() }
}
impl Directive {
    pub fn words(&self) -> Words<'_> { unimplemented!() }
    pub fn lines(&self) -> &[Line] { unimplemented!() }
    pub fn no_body(&self) -> Result<(), Diagnostic> { unimplemented!() }
    pub fn no_arguments(&self) -> Result<(), Diagnostic> { unimplemented!() }
}
impl Line {
    pub fn words(&self) -> Words<'_> { unimplemented!() }
    pub fn lines(&self) -> &[Line] { unimplemented!() }
    pub fn no_body(&self) -> Result<(), Diagnostic> { unimplemented!() }
    pub fn no_arguments(&self) -> Result<(), Diagnostic> { unimplemented!() }
}
impl<'a> Words<'a> {
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<&'a Word> { unimplemented!() }
    pub fn peek(&self) -> Option<&'a Word> { unimplemented!() }
    pub fn rest(&mut self) -> &'a [Word] { self.words }
    pub fn required(&mut self, what: &str) -> Result<&'a Word, Diagnostic> { unimplemented!() }
    pub fn end(&self) -> Result<(), Diagnostic> { unimplemented!() }
    pub fn duration(&mut self, what: &str, range: RangeInclusive<Duration>) -> Result<Duration, Diagnostic> { unimplemented!() }
    pub fn integer<T>(&mut self, what: &str, range: RangeInclusive<T>) -> Result<T, Diagnostic> { unimplemented!() }
    pub fn one_of<T: Copy>(&mut self, what: &str, allowed: &[(&str, T)]) -> Result<T, Diagnostic> { unimplemented!() }
}
impl Word {
    pub fn error(&self, message: impl Into<String>) -> Diagnostic { unimplemented!() }
    pub fn as_duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, Diagnostic> { unimplemented!() }
}
pub fn unknown_property(name: &Word, allowed: &[&str]) -> Diagnostic { unimplemented!() }
pub fn normalize_zone(text: &str) -> Result<Vec<crate::name::Name>, String> { unimplemented!() }
/// `this plugin can only be used once per Server Block` when there is a second stanza.
pub fn only_once<'a>(directives: &[&'a Directive]) -> Result<&'a Directive, Diagnostic> { unimplemented!() }
/// `[ZONES...]` arguments of a plugin: words that do not normalise are silently skipped, CIDR is expanded.
pub fn zones(words: &[Word]) -> Vec<crate::name::Name> { unimplemented!() }
/// `fallthrough [ZONES...]` of a line.
pub fn fallthrough(line: &Line) -> crate::zone::Fallthrough { unimplemented!() }
