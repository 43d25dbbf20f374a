//! What comes back from a plugin chain: a reply, a failure with its cause, or silence.

use std::fmt;

use smallvec::SmallVec;

use crate::codes::{Rcode, RecordType, edns_option, flags, opcode};
use crate::edns::Edns;
use crate::query::Query;
use crate::record::{Entry, Section};

/// The end of a query's way through the chain.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A message to send.
    Reply(Reply),
    /// No plugin wrote a message; the server sends an empty one with the failure's response code.
    Failure(Failure),
    /// Nothing is sent, on purpose.
    Silence,
}

impl Answer {
    /// The reply, if there is one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Answer::Reply(reply) => Some(reply),
            _ => None,
        }
    }

    /// The reply to change, if there is one.
    pub fn reply_mut(&mut self) -> Option<&mut Reply> {
        match self {
            Answer::Reply(reply) => Some(reply),
            _ => None,
        }
    }

    /// What went wrong, if something did and there is more to say than the response code: what `errors` logs.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Answer::Reply(reply) => reply.cause.as_deref(),
            Answer::Failure(failure) => failure.cause.as_deref(),
            Answer::Silence => None,
        }
    }

    /// The response code the client will see; `None` for silence.
    pub fn rcode(&self) -> Option<Rcode> {
        match self {
            Answer::Reply(reply) => Some(reply.rcode),
            Answer::Failure(failure) => Some(failure.rcode),
            Answer::Silence => None,
        }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        Answer::Failure(failure)
    }
}

/// A response message without its id and question, which the server writes from the request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Header flags with QR and opcode; the response code stands in `rcode`.
    pub flags: u16,
    /// Response code, the extended ones included.
    pub rcode: Rcode,
    /// Answer section.
    pub answer: Section,
    /// Authority section.
    pub authority: Section,
    /// Additional section without the OPT record.
    pub additional: Section,
    /// An OPT record of the reply's own; without one the client's is echoed as [`crate::encode`] says.
    pub opt: Option<Box<Edns>>,
    /// The request's EDNS as a plugin changed it, to be used instead of the client's when the response is finished.
    pub request_edns: Option<Box<Edns>>,
    /// Name of the plugin that made the reply.
    pub source: &'static str,
    /// What went wrong, for the operator, where a plugin wrote the reply to a failure itself.
    pub cause: Option<Box<Cause>>,
    /// The reply is read from data that is always up to date, such as the cluster index: nobody may keep it to answer later queries.
    pub live: bool,
}

impl Reply {
    /// An empty NOERROR reply: QR, the opcode, and RD and CD copied if it is a standard query.
    pub fn to(query: &Query, source: &'static str) -> Reply {
        let mut kept = flags::OPCODE;
        if query.opcode() == opcode::QUERY {
            kept |= flags::RD | flags::CD;
        }
        Reply {
            flags: flags::QR | query.flags & kept,
            rcode: Rcode::NOERROR,
            answer: SmallVec::new(),
            authority: SmallVec::new(),
            additional: SmallVec::new(),
            opt: None,
            request_edns: None,
            source,
            cause: None,
            live: false,
        }
    }

    /// The same with AA set.
    pub fn authoritative(query: &Query, source: &'static str) -> Reply {
        let mut reply = Reply::to(query, source);
        reply.flags |= flags::AA;
        reply
    }

    /// Whether a header flag is set.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Sets or clears a header flag.
    pub fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// All entries: answer, authority, additional.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.answer.iter().chain(&self.authority).chain(&self.additional)
    }

    /// All entries, to change.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.answer.iter_mut().chain(&mut self.authority).chain(&mut self.additional)
    }

    /// Makes all owners independent of the question (see [`Entry::detach`]).
    pub fn detach(&mut self, query: &Query) {
        for entry in self.entries_mut() {
            entry.detach(query);
        }
    }

    /// Length of the message without compression and without an OPT the server adds: what CoreDNS logs and counts as the
    /// response's size.
    pub fn uncompressed_length(&self, query: &Query) -> usize {
        let records: usize = self
            .entries()
            .map(|entry| {
                entry.set.count() * (entry.owner.resolve(query).len() + 10)
                    + entry.set.rdata_length()
            })
            .sum();
        let opt = self.opt.as_ref().map_or(0, |opt| opt.wire_length());
        crate::query::HEADER + query.spelled().len() + 4 + records + opt
    }

    /// Attaches an extended DNS error (RFC 8914), if the client understands EDNS.
    pub fn set_extended_error(&mut self, query: &Query, error: ExtendedError) {
        let Some(edns) = &query.edns else { return };
        let opt = self.opt.get_or_insert_with(|| Box::new(edns.echoed()));
        opt.push_option(edns_option::EDE, &error.option_data());
    }

    /// What kind of message it is (CoreDNS `plugin/pkg/response`).
    pub fn kind(&self, query: &Query) -> ReplyKind {
        let has_soa = || self.authority.iter().any(|entry| entry.rtype() == RecordType::SOA);
        let has_ns = || self.authority.iter().any(|entry| entry.rtype() == RecordType::NS);
        match query.opcode() {
            opcode::UPDATE => return ReplyKind::Update,
            opcode::NOTIFY => return ReplyKind::Meta,
            _ => {}
        }
        if matches!(query.qtype, RecordType::AXFR | RecordType::IXFR) {
            return ReplyKind::Meta;
        }
        if query.dnssec_ok() && self.entries().any(has_expired_signature) {
            return ReplyKind::OtherError;
        }
        match (self.rcode, self.answer.is_empty()) {
            (Rcode::NOERROR, false) => ReplyKind::NoError,
            (Rcode::NXDOMAIN, false) => ReplyKind::OtherError,
            (Rcode::NOERROR, true) if has_soa() => ReplyKind::NoData,
            (Rcode::NXDOMAIN, true) => ReplyKind::NameError,
            (Rcode::SERVFAIL | Rcode::NOTIMP, _) => ReplyKind::ServerError,
            (Rcode::NOERROR, true) if has_ns() => ReplyKind::Delegation,
            (Rcode::NOERROR, true) => ReplyKind::NoError,
            _ => ReplyKind::OtherError,
        }
    }
}

/// Whether a signature's validity period does not hold now (RFC 4034 section 3.1.5, serial number arithmetic).
fn has_expired_signature(entry: &Entry) -> bool {
    if entry.rtype() != RecordType::RRSIG {
        return false;
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as u32);
    entry.set.rdata().any(|rdata| {
        let Some(times) = rdata.get(8..16) else { return true };
        let expiration = u32::from_be_bytes([times[0], times[1], times[2], times[3]]);
        let inception = u32::from_be_bytes([times[4], times[5], times[6], times[7]]);
        (expiration.wrapping_sub(now) as i32) < 0 || (now.wrapping_sub(inception) as i32) < 0
    })
}

/// The kinds of reply that caching, logging and minimising tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// A positive answer.
    NoError,
    /// The name does not exist.
    NameError,
    /// SERVFAIL or NOTIMP.
    ServerError,
    /// The name exists, the type does not.
    NoData,
    /// A referral.
    Delegation,
    /// NOTIFY or a zone transfer.
    Meta,
    /// A dynamic update.
    Update,
    /// Everything else.
    OtherError,
}

impl ReplyKind {
    /// The coarser class (`log { class ... }`).
    pub fn class(self) -> ReplyClass {
        match self {
            ReplyKind::NoError | ReplyKind::Delegation => ReplyClass::Success,
            ReplyKind::NameError | ReplyKind::NoData => ReplyClass::Denial,
            _ => ReplyClass::Error,
        }
    }

    /// CoreDNS's word for it.
    pub fn label(self) -> &'static str {
        match self {
            ReplyKind::NoError => "NOERROR",
            ReplyKind::NameError => "NXDOMAIN",
            ReplyKind::ServerError => "SERVERERROR",
            ReplyKind::NoData => "NODATA",
            ReplyKind::Delegation => "DELEGATION",
            ReplyKind::Meta => "META",
            ReplyKind::Update => "UPDATE",
            ReplyKind::OtherError => "OTHERERROR",
        }
    }
}

/// Success, denial or error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyClass {
    /// The question was answered.
    Success,
    /// There is no such name or no such type.
    Denial,
    /// Something went wrong.
    Error,
}

/// No plugin wrote a reply.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the client is told.
    pub rcode: Rcode,
    /// Name of the plugin that failed.
    pub source: &'static str,
    /// Why, for the operator; `None` where CoreDNS has no error value either, so that `errors` stays silent.
    pub cause: Option<Box<Cause>>,
    /// What a plugin that keeps answers may make of it.
    pub kind: FailureKind,
}

/// Whether asking again at once could help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureKind {
    /// The plugin's own matter: data that is not there yet, a name it does not know, a fault.
    #[default]
    Other,
    /// No server that could know the answer gave a usable one: a resolution failure (RFC 9520 section 2).
    Resolution,
    /// Nobody was asked: too many others wait, or the client will not wait for much longer.
    Rejected,
    /// A resolution failure that is remembered: nobody was asked again.
    Cached,
}

impl Failure {
    /// SERVFAIL with a cause.
    pub fn servfail(source: &'static str, cause: impl Into<Cause>) -> Failure {
        let cause = Some(Box::new(cause.into()));
        Failure { rcode: Rcode::SERVFAIL, source, cause, kind: FailureKind::Other }
    }

    /// A bare response code.
    pub fn silent(rcode: Rcode, source: &'static str) -> Failure {
        Failure { rcode, source, cause: None, kind: FailureKind::Other }
    }

    /// The same as a failure of this kind.
    pub fn of_kind(self, kind: FailureKind) -> Failure {
        Failure { kind, ..self }
    }

    /// Adds what the client is told beyond the code (RFC 8914).
    pub fn with_extended_error(mut self, error: ExtendedError) -> Failure {
        let cause = self
            .cause
            .get_or_insert_with(|| Box::new(Cause { text: error.text.clone(), extended: None }));
        cause.extended = Some(error);
        self
    }
}

/// Why a query failed.
#[derive(Clone, Debug)]
pub struct Cause {
    /// For the operator's log.
    pub text: String,
    /// For the client.
    pub extended: Option<ExtendedError>,
}

impl<T: Into<String>> From<T> for Cause {
    fn from(text: T) -> Cause {
        Cause { text: text.into(), extended: None }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT.
    pub text: String,
}

impl ExtendedError {
    /// "Other Error": no registered code fits.
    pub const OTHER: u16 = 0;
    /// "Stale Answer".
    pub const STALE_ANSWER: u16 = 3;
    /// "Cached Error": the SERVFAIL is remembered, nobody was asked.
    pub const CACHED_ERROR: u16 = 13;
    /// "Not Ready": the server is not ready to serve this zone yet.
    pub const NOT_READY: u16 = 14;
    /// "Stale NXDOMAIN Answer".
    pub const STALE_NXDOMAIN_ANSWER: u16 = 19;
    /// "No Reachable Authority".
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// "Network Error".
    pub const NETWORK_ERROR: u16 = 23;

    /// The option's data.
    fn option_data(&self) -> Vec<u8> {
        let mut data = self.code.to_be_bytes().to_vec();
        data.extend_from_slice(self.text.as_bytes());
        data
    }
}
