//! Records as two readers of one message give them, so that they can be compared.

use hickory_proto::rr::{Name, RData, Record as TheirRecord};
use periplus_core::codes::RecordType;
use periplus_core::query::Query;
use periplus_core::record::Section;

/// One record: names as on the wire, without compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Owner.
    pub owner: Vec<u8>,
    /// Type.
    pub rtype: u16,
    /// Class.
    pub class: u16,
    /// TTL in seconds.
    pub ttl: u32,
    /// RDATA; empty where the two libraries keep it in forms of their own.
    pub rdata: Vec<u8>,
}

/// All records of a section of the reply to `query`.
pub fn records(section: &Section, query: &Query) -> Vec<Record> {
    let mut records = Vec::new();
    for entry in section {
        for rdata in entry.rdata() {
            records.push(Record {
                owner: entry.owner.resolve(query).as_wire().to_vec(),
                rtype: entry.rtype().0,
                class: entry.set.class().0,
                ttl: entry.ttl,
                rdata: rdata.to_vec(),
            });
        }
    }
    records
}

/// Leaves only RDATA that [`their_records`] has too.
pub fn comparable(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        if !COMPARED.contains(&RecordType(record.rtype)) {
            record.rdata.clear();
        }
    }
    records
}

/// The types whose RDATA both libraries read field by field.
const COMPARED: [RecordType; 8] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::PTR,
    RecordType::MX,
    RecordType::SRV,
    RecordType::SOA,
];

/// The records that hickory-proto read.
pub fn their_records(records: &[TheirRecord]) -> Vec<Record> {
    let one = |record: &TheirRecord| Record {
        owner: wire(&record.name),
        rtype: u16::from(record.record_type()),
        class: u16::from(record.dns_class),
        ttl: record.ttl,
        rdata: rdata(&record.data),
    };
    records.iter().map(one).collect()
}

fn rdata(data: &RData) -> Vec<u8> {
    match data {
        RData::A(address) => address.0.octets().to_vec(),
        RData::AAAA(address) => address.0.octets().to_vec(),
        RData::CNAME(name) => wire(&name.0),
        RData::NS(name) => wire(&name.0),
        RData::PTR(name) => wire(&name.0),
        RData::MX(mx) => [&mx.preference.to_be_bytes()[..], &wire(&mx.exchange)].concat(),
        RData::SRV(srv) => {
            let numbers = [srv.priority, srv.weight, srv.port].map(u16::to_be_bytes);
            [&numbers.concat()[..], &wire(&srv.target)].concat()
        }
        RData::SOA(soa) => {
            let [refresh, retry, expire] = [soa.refresh, soa.retry, soa.expire].map(|n| n as u32);
            let numbers = [soa.serial, refresh, retry, expire, soa.minimum].map(u32::to_be_bytes);
            [&wire(&soa.mname)[..], &wire(&soa.rname), &numbers.concat()].concat()
        }
        _ => Vec::new(),
    }
}

/// The labels of a name.
pub fn labels(name: &Name) -> Vec<&[u8]> {
    name.iter().collect()
}

fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.iter() {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}
