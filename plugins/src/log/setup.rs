use std::sync::Arc;

use periplus_core::corefile::{
    Diagnostic, Diagnostics, Directive, Line, Word, shown, unknown_property,
};
use periplus_core::name::Name;
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

use super::format::{COMBINED, COMMON, Format};
use super::handler::{Classes, Log, Rule};

/// Reads `log [NAMES...] [FORMAT] { class CLASS... }`, any number of them.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut rules = Vec::new();
    for directive in setup.directives {
        rules.extend(errors.take(parse(directive)).unwrap_or_default());
    }
    let output = Arc::clone(&setup.instance.output);
    errors.into_result(Some(Arc::new(Log { rules, output }) as Arc<dyn Plugin>))
}

/// One rule per name.
fn parse(directive: &Directive) -> Result<Vec<Rule>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let (names, format) = arguments(&directive.arguments);
    let format = Arc::new(format);
    let scopes: Vec<Name> = match names {
        [] => vec![Name::root()],
        names => names.iter().filter_map(|word| errors.take(scope(word))?).collect(),
    };
    let mut classes = Classes::default();
    for line in directive.lines() {
        match line.name.text.as_str() {
            "class" => classes.0 |= errors.take(read_classes(line)).unwrap_or_default().0,
            _ => errors.push(unknown_property(&line.name, &["class"])),
        }
    }
    if classes == Classes::default() {
        classes = Classes::ALL;
    }
    let rule = |scope| Rule { scope, classes, format: Arc::clone(&format) };
    errors.into_result(scopes.into_iter().map(rule).collect())
}

/// Names and format. The last of several arguments is the format if it has a brace; a single argument is always a name.
fn arguments(words: &[Word]) -> (&[Word], Format) {
    match words {
        [names @ .., last] if !names.is_empty() && last.text.contains('{') => {
            let text = last.text.replace("{common}", COMMON).replace("{combined}", COMBINED);
            (names, Format::parse(&text))
        }
        names => (names, Format::parse(COMMON)),
    }
}

/// The name of a rule; `None` if no query can have it.
fn scope(word: &Word) -> Result<Option<Name>, Diagnostic> {
    let is_format = word.text.contains('{');
    if is_format {
        tracing::warn!(
            "plugin/log: '{}' is taken as a name, as in CoreDNS; with a format write 'log . FORMAT'",
            shown(&word.text)
        );
    }
    match Name::parse(&word.text) {
        Ok(name) => Ok(Some(name.to_lower())),
        Err(_) if is_format => Ok(None),
        Err(error) => Err(word.error(format!("'{}' is not a name: {error}", shown(&word.text)))),
    }
}

fn read_classes(line: &Line) -> Result<Classes, Diagnostics> {
    const NAMES: [(&str, Classes); 4] = [
        ("all", Classes::ALL),
        ("success", Classes::SUCCESS),
        ("denial", Classes::DENIAL),
        ("error", Classes::ERROR),
    ];
    line.no_body()?;
    let mut errors = Diagnostics::new();
    let mut classes = Classes::default();
    for word in line.words().required_rest("a class")? {
        match NAMES.iter().find(|(name, _)| *name == word.text) {
            Some((_, class)) => classes.0 |= class.0,
            None => errors.push(
                word.error(format!("invalid Class: {}", shown(&word.text)))
                    .with_note("allowed here: all, success, denial, error"),
            ),
        }
    }
    errors.into_result(classes)
}
