//! The same configuration written as TOML.
//!
//! ```toml
//! [[server]]
//! keys = [".:53"]
//!
//! [[server.plugin]]
//! name = "kubernetes"
//! arguments = ["cluster.local", "in-addr.arpa", "ip6.arpa"]
//! options = [
//!     ["pods", "insecure"],
//!     ["ttl", 30],
//! ]
//! ```
//!
//! An option is an array: its name, its arguments, and, when it opens a block of its own, an
//! array of options at the end. Order and repetitions are those of a Corefile, which a table
//! could not express. Numbers and booleans stand for their text. References to environment
//! variables work as in a Corefile; there are no snippets and imports.
//!
//! The document is read as a tree with spans and not derived, because a derived reader stops at
//! its first error.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::file::too_large;
use super::limits::MAX_DEPTH;
use super::suggest::suggest;
use super::{
    Corefile, Diagnostic, Diagnostics, Failed, Inputs, Line, ServerBlock, SourceId, Sources, Span,
    Word,
};

type Value<'t> = Spanned<DeValue<'t>>;

pub(super) fn parse(environment: &Environment, name: &str, text: &str) -> Result<Corefile, Failed> {
    if let Some(failed) = too_large(name, text) {
        return Err(failed);
    }
    let mut sources = Sources::default();
    let source = sources.add(name.to_owned(), PathBuf::new(), text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    let mut reader = Reader { environment, sources, source, errors: Diagnostics::new() };
    let mut warnings = Diagnostics::new();
    let mut blocks = Vec::new();
    for error in &syntax {
        let span = reader.span(error.span().unwrap_or(text.len()..text.len()));
        reader.errors.push(Diagnostic::error(span, error.message()));
    }
    // What is missing after a syntax error is no error of its own.
    if syntax.is_empty() {
        blocks = reader.document(document.get_ref(), &mut warnings);
    }
    let Reader { sources, errors, .. } = reader;
    Failed::unless_usable(errors, Corefile { blocks, sources, warnings, inputs: Inputs::default() })
}

struct Reader<'e> {
    environment: &'e Environment,
    sources: Sources,
    source: SourceId,
    errors: Diagnostics,
}

impl Reader<'_> {
    fn document(&mut self, table: &DeTable<'_>, warnings: &mut Diagnostics) -> Vec<ServerBlock> {
        self.check_keys(table, &["server"]);
        let Some(servers) = table.get("server") else { return Vec::new() };
        let mut blocks = Vec::new();
        for server in self.array(servers, "an array of tables, [[server]]") {
            let Some(table) = self.table(server, "a table, [[server]]") else { continue };
            let block = self.server(table, server.span());
            // Keys of a wrong type are an error already.
            let has_keys = table.get("keys").is_some_and(|keys| keys.get_ref().is_array());
            if block.keys.is_empty() && has_keys {
                let span = self.span(server.span());
                let message = "this server block has no key and is ignored";
                warnings.push(Diagnostic::warning(span, message));
            } else {
                blocks.push(block);
            }
        }
        blocks
    }

    fn server(&mut self, table: &DeTable<'_>, range: Range<usize>) -> ServerBlock {
        self.check_keys(table, &["keys", "plugin"]);
        let mut block = ServerBlock { keys: Vec::new(), directives: Vec::new() };
        match table.get("keys") {
            Some(keys) => {
                for key in self.array(keys, "an array of strings") {
                    let word = self.string(key);
                    block.keys.extend(word.filter(|word| !word.text.is_empty()));
                }
            }
            None => self.missing(range, "keys", "keys = [\".:53\"]"),
        }
        if let Some(plugins) = table.get("plugin") {
            for plugin in self.array(plugins, "an array of tables, [[server.plugin]]") {
                let table = self.table(plugin, "a table, [[server.plugin]]");
                let directive = table.and_then(|table| self.plugin(table, plugin.span()));
                block.directives.extend(directive);
            }
        }
        block
    }

    fn plugin(&mut self, table: &DeTable<'_>, range: Range<usize>) -> Option<Line> {
        self.check_keys(table, &["name", "arguments", "options"]);
        let name = match table.get("name") {
            Some(name) => self.string(name),
            None => {
                self.missing(range.clone(), "name", "name = \"forward\"");
                None
            }
        };
        let mut arguments = Vec::new();
        if let Some(values) = table.get("arguments") {
            for value in self.array(values, "an array of strings") {
                arguments.extend(self.word(value));
            }
        }
        let options = table.get("options");
        let body = options.map(|options| self.options(options, 1));
        let brace = options.map(|options| self.span(options.span()));
        let end = self.span(range.end..range.end);
        name.map(|name| Line { name, arguments, body, brace, end })
    }

    fn options(&mut self, value: &Value<'_>, depth: usize) -> Vec<Line> {
        if depth > MAX_DEPTH {
            let span = self.span(value.span());
            self.errors.push(Diagnostic::error(span, "blocks are nested too deeply"));
            return Vec::new();
        }
        let options = self.array(value, "an array of options");
        options.iter().filter_map(|option| self.option(option, depth)).collect()
    }

    fn option(&mut self, value: &Value<'_>, depth: usize) -> Option<Line> {
        let words = match value.get_ref() {
            DeValue::Array(words) => words,
            _ => {
                let error = self.unexpected(value, "an option, which is an array of words");
                self.errors.push(error.with_help("write [\"ttl\", \"30\"] or [\"stacktrace\"]"));
                return None;
            }
        };
        let body = words.last().filter(|last| matches!(last.get_ref(), DeValue::Array(_)));
        let words = if body.is_some() { &words[..words.len() - 1] } else { &words[..] };
        let mut words = words.iter().map(|word| self.word(word)).collect::<Vec<_>>().into_iter();
        let Some(name) = words.next() else {
            let span = self.span(value.span());
            let error = Diagnostic::error(span, "an option needs a name");
            self.errors.push(error.with_help("write [\"ttl\", \"30\"] or [\"stacktrace\"]"));
            return None;
        };
        let arguments = words.flatten().collect();
        let brace = body.map(|body| self.span(body.span()));
        let body = body.map(|body| self.options(body, depth + 1));
        let end = value.span().end;
        let end = self.span(end.saturating_sub(1)..end);
        name.map(|name| Line { name, arguments, body, brace, end })
    }

    /// A string, or a number or boolean as its text.
    fn word(&mut self, value: &Value<'_>) -> Option<Word> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            _ => {
                let error = self.unexpected(value, "a string");
                self.errors.push(error);
                return None;
            }
        };
        let span = self.span(value.span());
        match self.environment.expand_word(&text) {
            Ok(text) => Some(Word { text, span }),
            Err(error) => {
                self.errors.push(Diagnostic::error(span, error.to_string()));
                None
            }
        }
    }

    fn string(&mut self, value: &Value<'_>) -> Option<Word> {
        if value.get_ref().is_str() {
            return self.word(value);
        }
        let error = self.unexpected(value, "a string");
        self.errors.push(error);
        None
    }

    fn array<'v, 't>(&mut self, value: &'v Value<'t>, expected: &str) -> &'v [Value<'t>] {
        if let DeValue::Array(values) = value.get_ref() {
            return values;
        }
        let error = self.unexpected(value, expected);
        self.errors.push(error);
        &[]
    }

    fn table<'v, 't>(&mut self, value: &'v Value<'t>, expected: &str) -> Option<&'v DeTable<'t>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        let error = self.unexpected(value, expected);
        self.errors.push(error);
        None
    }

    fn check_keys(&mut self, table: &DeTable<'_>, allowed: &[&str]) {
        for key in table.keys().filter(|key| !allowed.contains(&key.get_ref().as_ref())) {
            let span = self.span(key.span());
            let key = key.get_ref();
            let error = Diagnostic::error(span, format!("unknown key '{}'", super::shown(key)));
            self.errors.push(suggest(error, key, allowed));
        }
    }

    fn missing(&mut self, range: Range<usize>, key: &str, example: &str) {
        let error = Diagnostic::error(self.span(range), format!("'{key}' is missing"));
        self.errors.push(error.with_help(format!("add {example}")));
    }

    fn unexpected(&self, value: &Value<'_>, expected: &str) -> Diagnostic {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        Diagnostic::error(self.span(value.span()), format!("found {found}, expected {expected}"))
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.sources.span(self.source, range)
    }
}
