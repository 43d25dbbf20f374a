//! What can go wrong between the API server and us.

use std::fmt;
use std::time::Duration;

use super::scan::ScanError;

/// Why a list or a watch ended other than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The settings of the client (kubeconfig, certificates, token) cannot be used.
    Configuration(String),
    /// No connection, or none that TLS accepts, or it broke before an answer.
    Connect(String),
    /// The server answered with a status other than 2xx.
    Status {
        /// The HTTP status.
        code: u16,
        /// It and what the server says: `403 Forbidden: ...`.
        text: String,
        /// How long the server asks us to wait (`Retry-After`).
        after: Option<Duration>,
    },
    /// The version asked for is too old (410 Gone): the list has to be read again.
    Expired,
    /// Nothing came for this long.
    Stalled(Duration),
    /// The connection broke, or the answer ended in its middle.
    Cut(String),
    /// The answer is not what the API says it is.
    Malformed(String),
    /// A bug of this program, which has panicked.
    Panic,
    /// The server is at an older version than the data it gave before, as after a restored backup.
    WentBack {
        /// What was seen before.
        from: String,
        /// What the server says now.
        to: String,
    },
}

impl Failure {
    /// The metric label `reason`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Failure::Configuration(_) => "configuration",
            Failure::Connect(_) => "connect",
            Failure::Status { code: 401, .. } => "unauthorized",
            Failure::Status { code: 403, .. } => "forbidden",
            Failure::Status { code: 429, .. } => "too_many_requests",
            Failure::Status { code: 500.., .. } => "server_error",
            Failure::Status { .. } => "refused",
            Failure::Expired => "expired",
            Failure::Stalled(_) => "stalled",
            Failure::Cut(_) => "cut",
            Failure::Malformed(_) => "malformed",
            Failure::Panic => "panic",
            Failure::WentBack { .. } => "went_back",
        }
    }

    /// All labels, so that the series exist from the start.
    pub(super) const REASONS: [&str; 13] = [
        "configuration",
        "connect",
        "unauthorized",
        "forbidden",
        "too_many_requests",
        "server_error",
        "refused",
        "expired",
        "stalled",
        "cut",
        "malformed",
        "panic",
        "went_back",
    ];

    /// Whether credentials and certificates should be read again before the next try.
    pub(super) fn wants_new_client(&self) -> bool {
        matches!(
            self,
            Failure::Configuration(_)
                | Failure::Connect(_)
                | Failure::Status { code: 401, .. }
                | Failure::Stalled(_)
        )
    }

    /// Whether the server works, but needs to be asked for something else.
    pub(super) fn is_a_turn(&self) -> bool {
        matches!(self, Failure::Expired | Failure::WentBack { .. })
    }

    /// How long the server asks us to wait.
    pub(super) fn asked_to_wait(&self) -> Option<Duration> {
        match self {
            Failure::Status { after, .. } => *after,
            _ => None,
        }
    }

    /// Whether it belongs to the ordinary life of a watch, so that nobody needs to be told as long as the next try works.
    pub(super) fn is_routine(&self) -> bool {
        matches!(self, Failure::Expired)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Configuration(text) => f.write_str(text),
            Failure::Connect(text) => write!(f, "request failed: {text}"),
            Failure::Status { text, .. } => f.write_str(text),
            Failure::Expired => f.write_str("410 Gone: the version asked for is too old"),
            Failure::Stalled(time) => {
                write!(f, "nothing from the API server for {} s", time.as_secs_f32())
            }
            Failure::Cut(text) => write!(f, "connection lost: {text}"),
            Failure::Malformed(text) => write!(f, "unexpected answer: {text}"),
            Failure::Panic => f.write_str("a panic"),
            Failure::WentBack { from, to } => {
                write!(f, "the API server went back from version {from} to {to}")
            }
        }
    }
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Failure {
        Failure::Malformed(match error {
            ScanError::NotAList => "not a list of objects in JSON".to_owned(),
            ScanError::TooLarge => "an object larger than 16 MB".to_owned(),
        })
    }
}

/// An error with its causes, without saying the same twice.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
