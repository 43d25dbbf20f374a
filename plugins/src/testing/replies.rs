//! Replies from the same lines of text that [`lines`](super::lines) makes of an answer.

use std::net::IpAddr;

use periplus_core::codes::{Class, Rcode, RecordType, flags};
use periplus_core::name::Name;
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSetBuilder, Soa, txt_rdata};
use periplus_core::reply::Reply;

/// A reply to `query`: response code and flags (those not named are off), then records.
///
/// ```text
/// NXDOMAIN qr ra
/// authority: example.org. 300 IN SOA ns.example.org. mail.example.org. 1 2 3 4 5
/// ```
pub(crate) fn reply(query: &Query, lines: &[&str]) -> Reply {
    let mut reply = Reply::to(query, "scripted");
    let mut words = lines[0].split_whitespace();
    let rcode = words.next().and_then(Rcode::from_mnemonic);
    reply.rcode = rcode.expect("the first word is a response code");
    reply.flags &= !flags::QR & !flags::RD & !flags::CD;
    for word in words {
        reply.flags |= match word {
            "qr" => flags::QR,
            "aa" => flags::AA,
            "tc" => flags::TC,
            "rd" => flags::RD,
            "ra" => flags::RA,
            "ad" => flags::AD,
            "cd" => flags::CD,
            _ => panic!("'{word}' is no flag"),
        };
    }
    for line in &lines[1..] {
        let (section, record) = line.split_once(": ").expect("a record follows its section");
        let section = match section {
            "answer" => &mut reply.answer,
            "authority" => &mut reply.authority,
            "additional" => &mut reply.additional,
            _ => panic!("'{section}' is no section"),
        };
        let entry = record_entry(query, record);
        match section.last_mut() {
            // Neighbours with the same owner, type, class and TTL are one set, as `decode` makes them.
            Some(last)
                if last.owner == entry.owner
                    && last.rtype() == entry.rtype()
                    && last.set.class() == entry.set.class()
                    && last.ttl == entry.ttl =>
            {
                let mut set = RecordSetBuilder::new(last.rtype(), last.ttl).class(last.set.class());
                last.set.rdata().chain(entry.set.rdata()).for_each(|rdata| set.push(rdata));
                last.set = set.finish();
            }
            _ => section.push(entry),
        }
    }
    reply
}

/// `OWNER TTL CLASS TYPE RDATA...` as an entry.
fn record_entry(query: &Query, text: &str) -> Entry {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [owner, ttl, class, rtype, rdata @ ..] = words.as_slice() else {
        panic!("'{text}' is no record")
    };
    let rtype = RecordType::from_mnemonic(rtype).expect("a record type");
    let class = Class::from_mnemonic(class).expect("a class");
    let mut set = RecordSetBuilder::new(rtype, ttl.parse().expect("a TTL")).class(class);
    set.push(&rdata_of(rtype, rdata));
    let owner = name(owner);
    let owner =
        if owner.as_ref() == query.spelled() { Owner::Question } else { Owner::Name(owner) };
    Entry::of(owner, set.finish())
}

fn rdata_of(rtype: RecordType, words: &[&str]) -> Vec<u8> {
    let number = |index: usize| words[index].parse::<u32>().expect("a number");
    match rtype {
        RecordType::A | RecordType::AAAA => match words[0].parse().expect("an address") {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        },
        RecordType::CNAME | RecordType::NS | RecordType::PTR => name(words[0]).as_wire().to_vec(),
        RecordType::MX => {
            let mut rdata = (number(0) as u16).to_be_bytes().to_vec();
            rdata.extend_from_slice(name(words[1]).as_wire());
            rdata
        }
        RecordType::TXT => txt_rdata(words[0].trim_matches('"').as_bytes()),
        RecordType::SOA => {
            let (mname, rname) = (name(words[0]), name(words[1]));
            let (mname, rname) = (mname.as_ref(), rname.as_ref());
            let [serial, refresh, retry, expire, minimum] = [2, 3, 4, 5, 6].map(number);
            Soa { mname, rname, serial, refresh, retry, expire, minimum }.rdata()
        }
        _ => panic!("no test needed {rtype} so far"),
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("tests write valid names")
}
