//! Which names a rule means, and what becomes of them.
//!
//! Names are matched as text in lower case with the final dot, as CoreDNS does: `suffix example.org` ends `myexample.org.` too. Where
//! the wire form gives the same answer it is used instead, because it is there already.

use periplus_core::name::{Name, NameBuf, NameError, NameRef, NameText};
use regex::bytes::{Regex, RegexBuilder};

/// The longest regular expression, in bytes (CoreDNS's limit).
pub(super) const MAX_PATTERN: usize = 10_000;
/// The most memory a compiled regular expression may take, in bytes.
const MAX_COMPILED: usize = 4 << 20;

/// Which names a rule means.
#[derive(Debug)]
pub(super) enum Matcher {
    Exact(Name),
    Prefix(Box<str>),
    Suffix(Suffix),
    Substring(Box<str>),
    Regex(Regex),
}

impl Matcher {
    /// Whether a name in lower case is meant.
    pub(super) fn matches(&self, name: NameRef<'_>, text: &mut LazyText) -> bool {
        match self {
            Matcher::Exact(exact) => exact.as_wire() == name.as_wire(),
            Matcher::Prefix(prefix) => text.of(name).starts_with(&**prefix),
            Matcher::Suffix(suffix) => suffix.matches(name, text),
            Matcher::Substring(substring) => text.of(name).contains(&**substring),
            Matcher::Regex(regex) => regex.is_match(text.of(name).as_bytes()),
        }
    }
}

/// A matcher and what takes the place of what it matched.
#[derive(Debug)]
pub(super) struct Rewriter {
    pub(super) from: Matcher,
    pub(super) to: Target,
}

/// What takes the place of what was matched.
#[derive(Debug)]
pub(super) enum Target {
    /// A whole name.
    Name(Name),
    /// Part of a name's text.
    Text(Box<str>),
    /// The new end of a name.
    Suffix(Suffix),
    /// A whole name with groups of a regular expression in it.
    Template(Template),
}

impl Rewriter {
    /// What a name in lower case becomes; `None` when it is not meant.
    pub(super) fn rewrite(
        &self,
        name: NameRef<'_>,
        text: &mut LazyText,
    ) -> Option<Result<NameBuf, NotAName>> {
        if !self.from.matches(name, text) {
            return None;
        }
        Some(match (&self.from, &self.to) {
            (_, Target::Name(to)) => {
                let mut renamed = NameBuf::ROOT;
                renamed.set(to.as_ref());
                Ok(renamed)
            }
            (Matcher::Suffix(from), Target::Suffix(to)) => from.exchange(to, name),
            (Matcher::Prefix(from), Target::Text(to)) => {
                parse(format!("{to}{}", &text.of(name)[from.len()..]))
            }
            (Matcher::Substring(from), Target::Text(to)) => {
                parse(text.of(name).replace(&**from, to))
            }
            (Matcher::Regex(from), Target::Template(to)) => to.fill(from, text.of(name))?,
            // Setup pairs no others.
            _ => return None,
        })
    }
}

/// A text that a rule made and that is no domain name.
#[derive(Debug)]
pub(super) struct NotAName(pub(super) String);

fn parse(text: String) -> Result<NameBuf, NotAName> {
    NameBuf::parse(&text).map_err(|_| NotAName(text))
}

/// The end of a name, as text: a whole number of labels only if it begins with a dot.
#[derive(Clone, Debug)]
pub(super) struct Suffix {
    text: Box<str>,
    /// The zone strictly below which names have this suffix, when the suffix is a dot and a zone.
    zone: Option<Name>,
}

impl Suffix {
    /// `text` is in lower case and ends with a dot.
    pub(super) fn new(text: &str) -> Suffix {
        let zone = text
            .strip_prefix('.')
            .and_then(|zone| Name::parse(zone).ok().filter(|name| name.to_string() == zone));
        Suffix { text: text.into(), zone }
    }

    fn matches(&self, name: NameRef<'_>, text: &mut LazyText) -> bool {
        match &self.zone {
            Some(zone) => name.zone_offset(zone.as_ref()).is_some_and(|offset| offset > 0),
            None => text.of(name).ends_with(&*self.text),
        }
    }

    /// Puts another suffix in the place of this one, which `name` must have.
    fn exchange(&self, to: &Suffix, name: NameRef<'_>) -> Result<NameBuf, NotAName> {
        if let (Some(from), Some(to)) = (&self.zone, &to.zone)
            && let Ok(renamed) = exchange_zone(name, from.as_ref(), to.as_ref())
        {
            return Ok(renamed);
        }
        let text = NameText::of(name);
        let head = text.as_str().len().saturating_sub(self.text.len());
        parse(format!("{}{}", &text.as_str()[..head], to.text))
    }

    /// The name with another suffix; `None` when it has not this one or would not stay a name. Case is ignored.
    pub(super) fn renamed(&self, to: &Suffix, name: NameRef<'_>) -> Option<NameBuf> {
        let has_it = match &self.zone {
            Some(zone) => name.zone_offset(zone.as_ref()).is_some_and(|offset| offset > 0),
            None => {
                let text = NameText::of(name);
                let head = text.as_bytes().len().checked_sub(self.text.len())?;
                text.as_bytes()[head..].eq_ignore_ascii_case(self.text.as_bytes())
            }
        };
        if has_it { self.exchange(to, name).ok() } else { None }
    }
}

/// `name`, at or below `from`, moved to the same place at or below `to`.
pub(super) fn exchange_zone(
    name: NameRef<'_>,
    from: NameRef<'_>,
    to: NameRef<'_>,
) -> Result<NameBuf, NameError> {
    let mut renamed = NameBuf::ROOT;
    let mut rest = name;
    while rest.len() > from.len()
        && let Some(label) = rest.labels().next()
    {
        renamed.push_label(label)?;
        rest = rest.suffix(1 + label.len());
    }
    renamed.push_name(to)?;
    Ok(renamed)
}

/// A name's text, made at most once and only if a rule asks for it.
#[derive(Default)]
pub(super) struct LazyText(Option<NameText>);

impl LazyText {
    /// The text of `name`, which must be the same each time until [`LazyText::forget`].
    fn of(&mut self, name: NameRef<'_>) -> &str {
        self.0.get_or_insert_with(|| NameText::of(name)).as_str()
    }

    /// The name is about to change.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

/// Whether letters of a pattern stand for themselves only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Respected,
    Ignored,
}

/// Compiles a regular expression within the limits.
pub(super) fn compile(pattern: &str, case: Case) -> Result<Regex, PatternError> {
    if pattern.len() > MAX_PATTERN {
        return Err(PatternError::TooLong(pattern.len()));
    }
    let build = |unicode| {
        let mut builder = RegexBuilder::new(pattern);
        builder
            .unicode(unicode)
            .case_insensitive(case == Case::Ignored)
            .octal(true)
            .size_limit(MAX_COMPILED)
            .build()
    };
    // Names are ASCII text, and matching bytes is the cheaper kind; classes such as `\pL` exist only in the other one.
    build(false).or_else(|_| build(true)).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooBig,
        error => PatternError::Syntax(error.to_string()),
    })
}

/// Why a regular expression is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PatternError {
    TooLong(usize),
    TooBig,
    Syntax(String),
}

/// A name with `{0}`, `{1}`, ... in the place of what the groups of a regular expression matched.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Group(usize),
}

impl Template {
    /// Reads a replacement for a regular expression with `groups` groups. Numbers of groups that do not exist stay text.
    pub(super) fn new(text: &str, groups: usize) -> Template {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut literal = String::new();
        while let Some(at) = rest.find('{') {
            let (before, brace) = rest.split_at(at);
            literal += before;
            match group_at(brace).filter(|(group, _)| *group <= groups) {
                Some((group, length)) => {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                    pieces.push(Piece::Group(group));
                    rest = &brace[length..];
                }
                None => {
                    literal.push('{');
                    rest = &brace[1..];
                }
            }
        }
        literal += rest;
        pieces.push(Piece::Text(literal.into()));
        Template(pieces)
    }

    /// The name made from what `regex` finds in `text`; `None` when it finds nothing.
    pub(super) fn fill(&self, regex: &Regex, text: &str) -> Option<Result<NameBuf, NotAName>> {
        let captures = regex.captures(text.as_bytes())?;
        let mut filled = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Piece::Group(group) => {
                    filled.extend(captures.get(*group).map_or(&[][..], |found| found.as_bytes()))
                }
            }
        }
        Some(parse(String::from_utf8_lossy(&filled).into_owned()))
    }
}

/// How many different groups from `{0}` to `{100}` a replacement asks for, as CoreDNS counts them.
pub(super) fn groups_used(text: &str) -> usize {
    (0..=100).filter(|group| text.contains(&format!("{{{group}}}"))).count()
}

/// The group number in a text that starts with a brace, and the length of it all.
fn group_at(text: &str) -> Option<(usize, usize)> {
    let (number, _) = text.strip_prefix('{')?.split_once('}')?;
    let canonical = number == "0" || !number.starts_with('0');
    if !canonical || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, number.len() + 2))
}
