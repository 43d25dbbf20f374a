//! The Prometheus text exposition format, version 0.0.4.

use std::fmt::Write as _;

use super::{Registry, Series};

/// The media type of [`Registry::expose`].
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

impl Registry {
    /// The media type of [`Registry::expose`].
    pub const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    /// All metrics as text, sorted by name and labels.
    pub fn expose(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        for (name, family) in self.lock().iter() {
            if family.series.is_empty() {
                continue;
            }
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", family.help, family.kind);
            for (labels, series) in &family.series {
                match series {
                    Series::Counter(counter) => {
                        sample(&mut text, name, "", labels, None, counter.value() as f64)
                    }
                    Series::Gauge(gauge) => {
                        sample(&mut text, name, "", labels, None, gauge.value())
                    }
                    Series::Computed(value) => sample(&mut text, name, "", labels, None, value()),
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
        text
    }
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
