//! Why an exchange with an upstream failed.
//!
//! The texts are those of Go's network library, because operators match them: CoreDNS's own example is `errors { consolidate 5m ".* i/o
//! timeout$" }`.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// What operator and client are told when an upstream cannot be used with `randomize_case`.
pub(super) const OTHER_CASE: &str =
    "the upstream does not copy the spelling of the question, which 'randomize_case' needs";

/// A failed exchange.
#[derive(Debug)]
pub(super) struct ExchangeError {
    /// What was being done.
    pub(super) step: Step,
    /// Over UDP or TCP.
    pub(super) network: &'static str,
    /// Our end, once there is one.
    pub(super) local: Option<SocketAddr>,
    /// The upstream.
    pub(super) remote: SocketAddr,
    /// What went wrong.
    pub(super) cause: Cause,
}

/// The steps of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Making a socket: nothing the upstream could be blamed for.
    Open,
    /// Connecting.
    Dial,
    /// Sending the question.
    Write,
    /// Waiting for the answer.
    Read,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Cause {
    /// The time was up.
    Timeout,
    /// Nobody waited any longer, although the upstream's time was not up.
    GivenUp,
    /// The system says so.
    Io(io::Error),
    /// A stream ended before the answer.
    Closed,
    /// A message with the right id is not the answer.
    WrongAnswer,
    /// So many messages that are not the answer that somebody must be guessing.
    ManyWrongAnswers,
    /// The time was up, and there were answers with the question in other letters than `randomize_case` had given it.
    OtherCase,
}

impl ExchangeError {
    /// Whether the upstream may be the one in trouble, so that probing it makes sense.
    pub(super) fn blames_upstream(&self) -> bool {
        match (self.step, &self.cause) {
            (Step::Open, _) | (_, Cause::GivenUp) => false,
            // No local port or address is free for the connection.
            (Step::Dial, Cause::Io(error)) => {
                !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::AddrNotAvailable)
            }
            _ => true,
        }
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, call) = match self.step {
            Step::Open => ("dial", "socket"),
            Step::Dial => ("dial", "connect"),
            Step::Write => ("write", "write"),
            Step::Read => ("read", "read"),
        };
        write!(f, "{verb} {} ", self.network)?;
        if let Some(local) = self.local {
            write!(f, "{local}->")?;
        }
        write!(f, "{}: ", self.remote)?;
        match &self.cause {
            Cause::Timeout | Cause::GivenUp => f.write_str("i/o timeout"),
            Cause::Io(error) => write!(f, "{call}: {}", text_of(error)),
            Cause::Closed => f.write_str("EOF"),
            Cause::WrongAnswer => f.write_str("the answer does not match the question"),
            Cause::ManyWrongAnswers => {
                f.write_str("too many answers that do not match the question")
            }
            Cause::OtherCase => f.write_str(OTHER_CASE),
        }
    }
}

impl std::error::Error for ExchangeError {}

fn text_of(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset => "connection reset by peer".into(),
        ErrorKind::BrokenPipe => "broken pipe".into(),
        ErrorKind::HostUnreachable => "no route to host".into(),
        ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        ErrorKind::AddrNotAvailable => "cannot assign requested address".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_like_those_of_coredns() {
        let remote = "10.0.0.10:53".parse().unwrap();
        let local = Some("10.1.2.3:40000".parse().unwrap());
        let refused = || Cause::Io(ErrorKind::ConnectionRefused.into());
        let cases = [
            (
                Step::Read,
                "udp",
                local,
                Cause::Timeout,
                "read udp 10.1.2.3:40000->10.0.0.10:53: i/o timeout",
            ),
            (
                Step::Read,
                "udp",
                local,
                refused(),
                "read udp 10.1.2.3:40000->10.0.0.10:53: read: connection refused",
            ),
            (
                Step::Dial,
                "tcp",
                None,
                refused(),
                "dial tcp 10.0.0.10:53: connect: connection refused",
            ),
            (Step::Dial, "tcp", None, Cause::Timeout, "dial tcp 10.0.0.10:53: i/o timeout"),
            (Step::Read, "tcp", local, Cause::Closed, "read tcp 10.1.2.3:40000->10.0.0.10:53: EOF"),
        ];
        for (step, network, local, cause, text) in cases {
            assert_eq!(ExchangeError { step, network, local, remote, cause }.to_string(), text);
        }
    }

    #[test]
    fn what_goes_wrong_on_this_machine_is_not_the_upstream_s_fault() {
        let remote = "10.0.0.10:53".parse().unwrap();
        let io = |kind: ErrorKind| Cause::Io(kind.into());
        let cases = [
            (Step::Open, Cause::Io(io::Error::from_raw_os_error(24)), false),
            (Step::Open, io(ErrorKind::AddrNotAvailable), false),
            (Step::Dial, io(ErrorKind::WouldBlock), false),
            (Step::Dial, io(ErrorKind::AddrNotAvailable), false),
            (Step::Dial, Cause::GivenUp, false),
            (Step::Read, Cause::GivenUp, false),
            (Step::Dial, io(ErrorKind::ConnectionRefused), true),
            (Step::Dial, io(ErrorKind::NetworkUnreachable), true),
            (Step::Dial, Cause::Timeout, true),
            (Step::Read, Cause::Timeout, true),
            (Step::Read, Cause::Closed, true),
        ];
        for (step, cause, blamed) in cases {
            let error = ExchangeError { step, network: "tcp", local: None, remote, cause };
            assert_eq!(error.blames_upstream(), blamed, "{error:?}");
        }
    }
}
