//! Durations in the notation of Go's `time.ParseDuration`, which every CoreDNS plugin uses.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use super::diagnostic::quoted;

/// Reads a duration: decimal numbers with optional fraction and a unit each, as in `1h15m30.5s`.
/// A bare `0` needs no unit. Arithmetic, overflow and messages are Go's; a negative duration,
/// which no option has a use for, is its own error.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut nanoseconds: u64 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (number, after) = Number::read(rest).ok_or_else(invalid)?;
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let unit = nanoseconds_per(unit).ok_or_else(|| DurationError::UnknownUnit {
            unit: unit.to_owned(),
            text: text.to_owned(),
        })?;
        let part = number.times(unit).ok_or_else(invalid)?;
        nanoseconds = nanoseconds.checked_add(part).filter(fits).ok_or_else(invalid)?;
        rest = after;
    }
    match negative {
        true if nanoseconds > 0 => Err(DurationError::Negative(text.to_owned())),
        // Go's durations are signed: 2^63 itself exists only below zero.
        _ if nanoseconds > i64::MAX as u64 => Err(invalid()),
        _ => Ok(Duration::from_nanos(nanoseconds)),
    }
}

/// A duration as an operator would write it, such as `1h30m`, `5s` or `1.5ms`.
pub fn format_go_duration(duration: Duration) -> String {
    let mut text = String::new();
    let seconds = duration.as_secs();
    let nanoseconds = duration.subsec_nanos();
    for (count, unit) in [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm')] {
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
        }
    }
    let (whole, fraction, digits, unit) = match (seconds % 60, nanoseconds) {
        (0, 0) if !text.is_empty() => return text,
        (0, 1..1_000) if text.is_empty() => (u64::from(nanoseconds), 0, 0, "ns"),
        (0, 1_000..1_000_000) if text.is_empty() => {
            (u64::from(nanoseconds / 1_000), nanoseconds % 1_000, 3, "us")
        }
        (0, 1_000_000..) if text.is_empty() => {
            (u64::from(nanoseconds / 1_000_000), nanoseconds % 1_000_000, 6, "ms")
        }
        (seconds, nanoseconds) => (seconds, nanoseconds, 9, "s"),
    };
    let _ = write!(text, "{whole}");
    if fraction > 0 {
        let fraction = format!("{fraction:0digits$}");
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text + unit
}

/// A duration as Go prints it, such as `5m0s` or `1h0m0.5s`: for texts that are CoreDNS's.
pub fn print_go_duration(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    if minutes == 0 {
        return format_go_duration(duration).replace("us", "\u{b5}s");
    }
    let fraction = format!("{seconds}.{:09}", duration.subsec_nanos());
    let seconds = fraction.trim_end_matches('0').trim_end_matches('.');
    match minutes / 60 {
        0 => format!("{minutes}m{seconds}s"),
        hours => format!("{hours}h{}m{seconds}s", minutes % 60),
    }
}

/// A decimal number: an integer part and a fraction of `numerator / scale`.
struct Number {
    whole: u64,
    numerator: u64,
    scale: f64,
}

impl Number {
    /// Reads digits with at most one dot; at least one digit is needed.
    fn read(text: &str) -> Option<(Self, &str)> {
        let mut number = Self { whole: 0, numerator: 0, scale: 1.0 };
        let digits = digits(text);
        for digit in digits.bytes() {
            number.whole = number.whole.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            if !fits(&number.whole) {
                return None;
            }
        }
        let rest = &text[digits.len()..];
        let Some(rest) = rest.strip_prefix('.') else {
            return (!digits.is_empty()).then_some((number, rest));
        };
        let fraction = self::digits(rest);
        for digit in fraction.bytes() {
            // Digits beyond what fits carry no weight and are dropped, as Go drops them.
            let Some(more) = number.numerator.checked_mul(10) else { break };
            let more = more + u64::from(digit - b'0');
            if !fits(&more) || number.numerator > (i64::MAX as u64) / 10 {
                break;
            }
            number.numerator = more;
            number.scale *= 10.0;
        }
        let some = !digits.is_empty() || !fraction.is_empty();
        some.then_some((number, &rest[fraction.len()..]))
    }

    fn times(&self, unit: u64) -> Option<u64> {
        let whole = self.whole.checked_mul(unit).filter(fits)?;
        // Floating point on purpose: it is what Go does, down to the last nanosecond.
        let fraction = self.numerator as f64 * (unit as f64 / self.scale);
        whole.checked_add(fraction as u64).filter(fits)
    }
}

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

/// Go counts up to 2^63 and checks the sign afterwards.
fn fits(nanoseconds: &u64) -> bool {
    *nanoseconds <= 1 << 63
}

fn nanoseconds_per(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // Go takes both the micro sign (U+00B5) and the Greek letter mu (U+03BC).
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        _ => return None,
    })
}

/// Why a text is no duration; the messages are Go's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// Not a duration at all, or one beyond 292 years.
    Invalid(String),
    /// A number without a unit.
    MissingUnit(String),
    /// A unit that does not exist.
    UnknownUnit {
        /// The unit found.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// A duration below zero.
    Negative(String),
}

impl DurationError {
    /// What to write instead.
    pub(super) fn help(&self, text: &str) -> Option<String> {
        Some(match self {
            Self::MissingUnit(_) if text.bytes().all(|b| b.is_ascii_digit()) => {
                format!("a duration needs a unit: '{text}s' for seconds, '{text}m' for minutes")
            }
            Self::Negative(_) => "a duration may not be negative".to_owned(),
            _ => {
                "a duration is a number and a unit (ns, us, ms, s, m or h), as in 1m30s".to_owned()
            }
        })
    }
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(f, "time: invalid duration {}", quoted(text)),
            Self::MissingUnit(text) => {
                write!(f, "time: missing unit in duration {}", quoted(text))
            }
            Self::UnknownUnit { unit, text } => {
                let (unit, text) = (quoted(unit), quoted(text));
                write!(f, "time: unknown unit {unit} in duration {text}")
            }
            Self::Negative(text) => write!(f, "negative duration {}", quoted(text)),
        }
    }
}

impl std::error::Error for DurationError {}
