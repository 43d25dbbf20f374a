//! Questions ready to be sent, and what a right answer to each looks like.

use std::net::Ipv4Addr;

use periplus_core::name::Name;

use crate::Result;

/// Where the digits of a name that is asked only once stand: behind the header and the first label's length.
const DIGITS: usize = 13;
/// How many digits.
const DIGITS_LENGTH: usize = 10;

/// One question and what is expected of its answer.
#[derive(Clone)]
pub(crate) struct Question {
    /// The message; its first two bytes are for the id.
    pub(crate) message: Vec<u8>,
    pub(crate) expected: Expected,
}

/// What an answer must be like.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) rcode: u8,
    pub(crate) answers: u16,
    pub(crate) truncated: bool,
    /// The addresses that the answer section may hold; empty: not looked at.
    pub(crate) addresses: Vec<Ipv4Addr>,
}

/// RR types asked for.
pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

impl Question {
    /// A question without EDNS, RD set, as a stub resolver sends it.
    pub(crate) fn new(name: &str, qtype: u16, rcode: u8, answers: u16) -> Result<Question> {
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(
            Name::parse(name).map_err(|_| format!("{name}: not a name"))?.as_wire(),
        );
        message.extend_from_slice(&qtype.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        Ok(Question {
            message,
            expected: Expected { rcode, answers, truncated: false, addresses: Vec::new() },
        })
    }

    /// A name that exists with these addresses.
    pub(crate) fn address(name: &str, addresses: &[Ipv4Addr]) -> Result<Question> {
        let mut question = Question::new(name, A, 0, addresses.len() as u16)?;
        question.expected.addresses = addresses.to_vec();
        Ok(question)
    }
}

impl Expected {
    /// Looks at the header only: cheap enough for every answer under load. A cut answer may hold any number of records.
    pub(crate) fn fits(&self, response: &[u8]) -> bool {
        let [_, _, high, low, _, _, a, b, ..] = *response else { return false };
        let truncated = high & 0x02 != 0;
        let counted = truncated || u16::from_be_bytes([a, b]) == self.answers;
        high & 0x80 != 0 && low & 0x0f == self.rcode && truncated == self.truncated && counted
    }
}

/// Where the next question comes from.
#[derive(Clone)]
pub(crate) enum Questions {
    /// These, again and again.
    Fixed(Vec<Question>),
    /// Names that were never asked before, all with one kind of answer.
    Fresh { template: Question, next: u64 },
}

impl Questions {
    /// Names of ten digits in front of `tail`, each asked once.
    pub(crate) fn fresh(tail: &str, first: u64) -> Result<Questions> {
        let template = Question::new(&format!("{:0DIGITS_LENGTH$}.{tail}", 0), A, 0, 1)?;
        Ok(Questions::Fresh { template, next: first })
    }

    /// Appends the question number `at` of this source with an id.
    pub(crate) fn write(&self, at: u64, id: u16, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Questions::Fixed(all) => {
                out.extend_from_slice(&all[(at % all.len() as u64) as usize].message)
            }
            Questions::Fresh { template, next } => {
                out.extend_from_slice(&template.message);
                let mut number = next + at;
                for digit in out[start + DIGITS..start + DIGITS + DIGITS_LENGTH].iter_mut().rev() {
                    *digit = b'0' + (number % 10) as u8;
                    number /= 10;
                }
            }
        }
        out[start..start + 2].copy_from_slice(&id.to_be_bytes());
    }

    /// What is expected of the answer to question number `at`.
    pub(crate) fn expected(&self, at: u64) -> &Expected {
        match self {
            Questions::Fixed(all) => &all[(at % all.len() as u64) as usize].expected,
            Questions::Fresh { template, .. } => &template.expected,
        }
    }

    /// Makes sure that what was asked so far is not asked again where names must be fresh.
    pub(crate) fn advance(&mut self, asked: u64) {
        if let Questions::Fresh { next, .. } = self {
            *next += asked;
        }
    }
}
