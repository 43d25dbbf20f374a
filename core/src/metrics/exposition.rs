//! The Prometheus text exposition format, version 0.0.4.

use std::fmt::Write as _;

use super::collector::{Collected, CollectedFamily};
use super::{Registry, Series};

/// The media type of [`Registry::expose`].
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

impl Registry {
    /// The media type of [`Registry::expose`].
    pub const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    /// All metrics as text, sorted by name and labels; series of a collector in its own order.
    pub fn expose(&self) -> String {
        let mut collected = self.collect().0.into_iter().peekable();
        let mut text = String::with_capacity(16 * 1024);
        for (name, family) in self.lock().iter() {
            while let Some((earlier, family)) = collected.next_if(|(other, _)| other < name) {
                family.write(earlier, &mut text);
            }
            if family.series.is_empty() {
                continue;
            }
            head(&mut text, name, family.help, family.kind);
            for (labels, series) in &family.series {
                match series {
                    Series::Counter(counter) => {
                        sample(&mut text, name, "", labels, None, counter.value() as f64)
                    }
                    Series::Gauge(gauge) => {
                        sample(&mut text, name, "", labels, None, gauge.value())
                    }
                    Series::Computed(value) => sample(&mut text, name, "", labels, None, value()),
                    Series::ComputedOfAll(worse, sources) => {
                        let values = sources.iter().filter_map(|source| source());
                        if let Some(value) = values.reduce(worse) {
                            sample(&mut text, name, "", labels, None, value);
                        }
                    }
                    Series::Histogram(histogram) => {
                        let (counts, sum) = histogram.snapshot();
                        let mut total = 0;
                        for (bound, count) in histogram.bounds().iter().zip(&counts) {
                            total += count;
                            sample(
                                &mut text,
                                name,
                                "_bucket",
                                labels,
                                Some(&bound.to_string()),
                                total as f64,
                            );
                        }
                        total += counts[histogram.bounds().len()];
                        sample(&mut text, name, "_bucket", labels, Some("+Inf"), total as f64);
                        sample(&mut text, name, "_sum", labels, None, sum);
                        sample(&mut text, name, "_count", labels, None, total as f64);
                    }
                }
            }
        }
        for (name, family) in collected {
            family.write(name, &mut text);
        }
        text
    }
}

impl Collected {
    /// All families as text, sorted by name.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.0.iter().for_each(|(name, family)| family.write(name, &mut text));
        text
    }
}

impl CollectedFamily {
    fn write(&self, name: &str, text: &mut String) {
        if !self.series.is_empty() {
            head(text, name, self.help, self.kind);
        }
        for (labels, value) in &self.series {
            sample(text, name, "", labels, None, *value);
        }
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, String)],
    bound: Option<&str>,
    value: f64,
) {
    text.push_str(name);
    text.push_str(suffix);
    let mut separator = '{';
    let pairs = labels.iter().map(|(name, value)| (*name, value.as_str()));
    for (label, value) in pairs.chain(bound.map(|bound| ("le", bound))) {
        let _ = write!(text, "{separator}{label}=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}
