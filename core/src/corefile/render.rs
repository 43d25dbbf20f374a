//! Diagnostics as text for people: the line, a caret under the word, what to do about it.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::source::Source;
use super::{Diagnostic, Diagnostics, Severity, Sources, Span};

/// More than anybody reads at once.
const MOST_RENDERED: usize = 100;
/// Places further apart than this are shown one by one.
const WIDEST_WINDOW: usize = 500;
/// The most bytes of source that are shown for one place.
const LARGEST_WINDOW: usize = 64 * 1024;

impl Diagnostics {
    /// All diagnostics with their source lines, without colours.
    pub fn render(&self, sources: &Sources) -> String {
        self.render_with(sources, &Renderer::plain())
    }

    /// All diagnostics with their source lines, with terminal colours.
    pub fn render_styled(&self, sources: &Sources) -> String {
        self.render_with(sources, &Renderer::styled())
    }

    /// One line per diagnostic, `FILE:LINE:COLUMN: message (help)`, for logs.
    pub fn render_lines(&self, sources: &Sources) -> String {
        let mut lines = String::new();
        for diagnostic in self {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&diagnostic.render_line(sources));
        }
        lines
    }

    fn render_with(&self, sources: &Sources, renderer: &Renderer) -> String {
        let mut text = String::new();
        for diagnostic in self.iter().take(MOST_RENDERED) {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&renderer.render(&[group(diagnostic, sources)]));
        }
        if self.len() > MOST_RENDERED {
            let _ = write!(text, "\n\n{} more are not shown", self.len() - MOST_RENDERED);
        }
        text
    }
}

impl Diagnostic {
    /// `FILE:LINE:COLUMN: message (help)`.
    pub fn render_line(&self, sources: &Sources) -> String {
        let place = self.span.map(|span| sources.place(span) + ": ").unwrap_or_default();
        let help = self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{place}{}{help}", self.message)
    }
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    let mut others: Vec<&super::Label> = diagnostic.labels.iter().collect();
    if let Some(span) = diagnostic.span {
        let remark = others.iter().position(|label| label.span == span);
        let remark = remark.map_or("", |index| &others.remove(index).text);
        let mut marks = vec![Mark { span, kind: AnnotationKind::Primary, text: remark }];
        others.retain(|label| {
            let near = label.span.source == span.source
                && label.span.line.abs_diff(span.line) as usize <= WIDEST_WINDOW;
            if near {
                marks.push(Mark::other(label));
            }
            !near
        });
        group = show(group, sources, &marks);
    }
    for label in others {
        group = show(group, sources, &[Mark::other(label)]);
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    group
}

struct Mark<'a> {
    span: Span,
    kind: AnnotationKind,
    text: &'a str,
}

impl<'a> Mark<'a> {
    fn other(label: &'a super::Label) -> Self {
        Self { span: label.span, kind: AnnotationKind::Context, text: &label.text }
    }
}

/// Adds the lines that hold the marks; all of them lie in one source.
fn show<'a>(group: Group<'a>, sources: &'a Sources, marks: &[Mark<'a>]) -> Group<'a> {
    let first = marks[0].span;
    let Some(source) = sources.get(first.source) else { return group };
    let lines = marks.iter().map(|mark| source.line_at(mark.span.start));
    let (top, bottom) =
        lines.fold((usize::MAX, 0), |(top, bottom), line| (top.min(line), bottom.max(line)));
    let window = source.lines(top, bottom);
    if window.len() > LARGEST_WINDOW {
        let origin = Origin::path(source.name.as_str());
        let origin = origin.line(first.line as usize).char_column(first.column as usize);
        return group.element(origin);
    }
    let annotations = marks.iter().map(|mark| annotation(source, &window, mark));
    // A lone carriage return would count as a line end here; it does not in a Corefile.
    let text = source.text[window.clone()].replace('\r', " ");
    let snippet = Snippet::source(text).line_start(top + 1).path(source.name.as_str());
    group.element(snippet.annotations(annotations))
}

/// A mark relative to the window, cut at the end of its first line.
fn annotation<'a>(source: &Source, window: &Range<usize>, mark: &Mark<'a>) -> Annotation<'a> {
    let line = source.line_at(mark.span.start);
    let line_end = source.lines(line, line).end;
    let start = (mark.span.start as usize).min(line_end);
    let end = (mark.span.end as usize).clamp(start, line_end);
    let annotation = mark.kind.span(start - window.start..end - window.start);
    if mark.text.is_empty() { annotation } else { annotation.label(mark.text) }
}
