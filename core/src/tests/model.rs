//! Messages as plain values that belong to neither codec, and ways to make up many of them.

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{
    DNSClass, Name as HickoryName, RData, Record as HickoryRecord, RecordType as HickoryType,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::codes::{Class, RecordType};
use crate::edns::Edns;
use crate::name::{Name, NameRef};
use crate::query::{Query, Transport};
use crate::record::{Entry, Owner, RecordSetBuilder, Section};
use crate::reply::Reply;

/// A name as its labels.
pub(super) type Labels = Vec<Vec<u8>>;

/// One record of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) owner: Labels,
    pub(super) ttl: u32,
    pub(super) data: Data,
}

/// RDATA of the types that differ in shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    A([u8; 4]),
    Aaaa([u8; 16]),
    Cname(Labels),
    Ns(Labels),
    Ptr(Labels),
    Mx(u16, Labels),
    Srv(u16, u16, u16, Labels),
    Soa(Labels, Labels, [u32; 5]),
    Txt(Vec<Vec<u8>>),
    Unknown(u16, Vec<u8>),
}

/// The wire form of a name, written independently of what is tested.
pub(super) fn wire(labels: &Labels) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

pub(super) fn name(labels: &Labels) -> Name {
    NameRef::from_wire(&wire(labels)).expect("strategies make valid names").to_name()
}

fn hickory_name(labels: &Labels) -> HickoryName {
    HickoryName::from_labels(labels.iter().map(Vec::as_slice)).expect("strategies make valid names")
}

fn labels_of(name: &HickoryName) -> Labels {
    name.iter().map(<[u8]>::to_vec).collect()
}

impl Data {
    pub(super) fn rtype(&self) -> u16 {
        match self {
            Data::A(_) => 1,
            Data::Ns(_) => 2,
            Data::Cname(_) => 5,
            Data::Soa(..) => 6,
            Data::Ptr(_) => 12,
            Data::Mx(..) => 15,
            Data::Txt(_) => 16,
            Data::Aaaa(_) => 28,
            Data::Srv(..) => 33,
            Data::Unknown(rtype, _) => *rtype,
        }
    }

    pub(super) fn rdata(&self) -> Vec<u8> {
        match self {
            Data::A(octets) => octets.to_vec(),
            Data::Aaaa(octets) => octets.to_vec(),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => wire(name),
            Data::Mx(preference, name) => [&preference.to_be_bytes()[..], &wire(name)].concat(),
            Data::Srv(a, b, c, name) => {
                [&a.to_be_bytes()[..], &b.to_be_bytes(), &c.to_be_bytes(), &wire(name)].concat()
            }
            Data::Soa(mname, rname, numbers) => {
                let numbers = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
                [wire(mname), wire(rname), numbers].concat()
            }
            Data::Txt(strings) => strings
                .iter()
                .flat_map(|text| std::iter::once(text.len() as u8).chain(text.iter().copied()))
                .collect(),
            Data::Unknown(_, data) => data.clone(),
        }
    }

    fn to_hickory(&self) -> RData {
        match self {
            Data::A(octets) => RData::A(A::from(std::net::Ipv4Addr::from(*octets))),
            Data::Aaaa(octets) => RData::AAAA(AAAA::from(std::net::Ipv6Addr::from(*octets))),
            Data::Cname(name) => RData::CNAME(CNAME(hickory_name(name))),
            Data::Ns(name) => RData::NS(NS(hickory_name(name))),
            Data::Ptr(name) => RData::PTR(PTR(hickory_name(name))),
            Data::Mx(preference, name) => RData::MX(MX::new(*preference, hickory_name(name))),
            Data::Srv(priority, weight, port, name) => {
                RData::SRV(SRV::new(*priority, *weight, *port, hickory_name(name)))
            }
            Data::Soa(mname, rname, [serial, refresh, retry, expire, minimum]) => {
                RData::SOA(SOA::new(
                    hickory_name(mname),
                    hickory_name(rname),
                    *serial,
                    *refresh as i32,
                    *retry as i32,
                    *expire as i32,
                    *minimum,
                ))
            }
            Data::Txt(strings) => {
                RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
            }
            Data::Unknown(rtype, data) => {
                RData::Unknown { code: HickoryType::from(*rtype), rdata: NULL::with(data.clone()) }
            }
        }
    }

    fn of_hickory(data: &RData) -> Data {
        match data {
            RData::A(address) => Data::A(address.0.octets()),
            RData::AAAA(address) => Data::Aaaa(address.0.octets()),
            RData::CNAME(name) => Data::Cname(labels_of(&name.0)),
            RData::NS(name) => Data::Ns(labels_of(&name.0)),
            RData::PTR(name) => Data::Ptr(labels_of(&name.0)),
            RData::MX(mx) => Data::Mx(mx.preference, labels_of(&mx.exchange)),
            RData::SRV(srv) => {
                Data::Srv(srv.priority, srv.weight, srv.port, labels_of(&srv.target))
            }
            RData::SOA(soa) => Data::Soa(
                labels_of(&soa.mname),
                labels_of(&soa.rname),
                [soa.serial, soa.refresh as u32, soa.retry as u32, soa.expire as u32, soa.minimum],
            ),
            RData::TXT(txt) => Data::Txt(txt.txt_data.iter().map(|text| text.to_vec()).collect()),
            RData::Unknown { code, rdata } => {
                Data::Unknown(u16::from(*code), rdata.anything.clone())
            }
            other => panic!("not in the model: {other:?}"),
        }
    }
}

impl Record {
    pub(super) fn to_hickory(&self) -> HickoryRecord {
        HickoryRecord::from_rdata(hickory_name(&self.owner), self.ttl, self.data.to_hickory())
    }

    pub(super) fn of_hickory(record: &HickoryRecord) -> Record {
        assert_eq!(record.dns_class, DNSClass::IN);
        Record {
            owner: labels_of(&record.name),
            ttl: record.ttl,
            data: Data::of_hickory(&record.data),
        }
    }
}

/// A record as bytes: owner, type, class, TTL, RDATA without compression.
pub(super) type Flat = (Vec<u8>, u16, u16, u32, Vec<u8>);

/// The records of a section of a reply to `query`.
pub(super) fn flat(section: &Section, query: &Query) -> Vec<Flat> {
    let mut records = Vec::new();
    for entry in section {
        for rdata in entry.rdata() {
            let owner = entry.owner.resolve(query).as_wire().to_vec();
            records.push((owner, entry.rtype().0, entry.set.class().0, entry.ttl, rdata.to_vec()));
        }
    }
    records
}

/// The same for records of the model.
pub(super) fn flat_records(records: &[Record]) -> Vec<Flat> {
    let flat = |record: &Record| {
        (wire(&record.owner), record.data.rtype(), 1, record.ttl, record.data.rdata())
    };
    records.iter().map(flat).collect()
}

/// A question, the entries that answer it, and the records which those entries are.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) query: Query,
    pub(super) reply: Reply,
    pub(super) records: [Vec<Record>; 3],
}

/// One entry of a section: how its owner is given, TTL, rotation, data of one type.
type EntryModel = (OwnerModel, u32, u16, Vec<Data>);

#[derive(Clone, Debug)]
enum OwnerModel {
    Question,
    /// The question's name without so many of its labels.
    Suffix(usize),
    Name(Labels),
}

/// Questions with answers of up to `most` entries in each section.
pub(super) fn exchanges(most: usize) -> impl Strategy<Value = Exchange> {
    let sections = [(); 3].map(|()| vec(entries(), 0..=most));
    (queries(), sections, any::<u16>()).prop_map(|(query, sections, flags)| {
        let mut reply = Reply::to(&query, "test");
        // Any flag but QR, opcode, TC and the response code.
        reply.flags |= flags & 0x05f0;
        let question: Labels = query.spelled().labels().map(<[u8]>::to_vec).collect();
        let mut records: [Vec<Record>; 3] = Default::default();
        let own = [&mut reply.answer, &mut reply.authority, &mut reply.additional];
        for ((entries, section), records) in sections.iter().zip(own).zip(&mut records) {
            for entry in entries {
                let (entry, its) = realize(entry, &question);
                section.push(entry);
                records.extend(its);
            }
        }
        Exchange { query, reply, records }
    })
}

fn realize((owner, ttl, first, data): &EntryModel, question: &Labels) -> (Entry, Vec<Record>) {
    let (labels, owner) = match owner {
        OwnerModel::Question => (question.clone(), Owner::Question),
        OwnerModel::Suffix(without) => {
            let (left, right) = question.split_at(*without % (question.len() + 1));
            let offset = left.iter().map(|label| 1 + label.len()).sum::<usize>();
            (right.to_vec(), Owner::QuestionSuffix(offset as u8))
        }
        OwnerModel::Name(labels) => (labels.clone(), Owner::Name(name(labels))),
    };
    let mut set = RecordSetBuilder::new(RecordType(data[0].rtype()), 1);
    data.iter().for_each(|data| set.push(&data.rdata()));
    let first = usize::from(*first) % data.len();
    let entry = Entry { owner, ttl: *ttl, first: first as u16, set: set.finish() };
    let rotated = data[first..].iter().chain(&data[..first]);
    let records =
        rotated.map(|data| Record { owner: labels.clone(), ttl: *ttl, data: data.clone() });
    (entry, records.collect())
}

fn entries() -> impl Strategy<Value = EntryModel> {
    let owner = prop_oneof![
        3 => Just(OwnerModel::Question),
        1 => any::<usize>().prop_map(OwnerModel::Suffix),
        3 => labels().prop_map(OwnerModel::Name),
    ];
    (owner, any::<u32>(), any::<u16>(), data())
}

/// One to four RDATA of one type.
fn data() -> impl Strategy<Value = Vec<Data>> {
    fn some(data: impl Strategy<Value = Data>) -> impl Strategy<Value = Vec<Data>> {
        vec(data, 1..=4)
    }
    prop_oneof![
        some(any::<[u8; 4]>().prop_map(Data::A)),
        some(any::<[u8; 16]>().prop_map(Data::Aaaa)),
        some(labels().prop_map(Data::Cname)),
        some(labels().prop_map(Data::Ns)),
        some(labels().prop_map(Data::Ptr)),
        some((any::<u16>(), labels()).prop_map(|(preference, name)| Data::Mx(preference, name))),
        some((any::<[u16; 3]>(), labels()).prop_map(|([a, b, c], name)| Data::Srv(a, b, c, name))),
        some(
            (labels(), labels(), any::<[u32; 5]>())
                .prop_map(|(m, r, numbers)| Data::Soa(m, r, numbers))
        ),
        some(vec(vec(any::<u8>(), 0..40), 1..3).prop_map(Data::Txt)),
        (65280_u16..65300, vec(vec(any::<u8>(), 1..60), 1..=4)).prop_map(|(rtype, all)| {
            all.into_iter().map(|data| Data::Unknown(rtype, data)).collect()
        }),
    ]
}

/// Questions over UDP or TCP, with and without EDNS.
pub(super) fn queries() -> impl Strategy<Value = Query> {
    let fields = (any::<u16>(), any::<u16>(), labels(), 1_u16..=60, any::<bool>());
    (fields, proptest::option::of(edns())).prop_map(|((id, flags, qname, qtype, tcp), edns)| {
        let mut query = Query::empty();
        query.id = id;
        // A standard query with any of TC, RD, RA, AD and CD.
        query.flags = flags & 0x03b0;
        query.set_name(name(&qname).as_ref());
        // Not OPT, which no message may ask for in hickory-proto.
        query.qtype = RecordType(if qtype == 41 { 1 } else { qtype });
        query.class = Class::IN;
        query.transport = if tcp { Transport::Tcp } else { Transport::Udp };
        query.edns = edns;
        query
    })
}

fn edns() -> impl Strategy<Value = Edns> {
    // Options that nobody reads.
    let options = vec((65001_u16..65534, vec(any::<u8>(), 0..20)), 0..3);
    (512_u16..5000, any::<u16>(), options).prop_map(|(udp_size, flags, options)| {
        let mut edns = Edns { udp_size, flags, ..Edns::default() };
        options.iter().for_each(|(code, data)| edns.push_option(*code, data));
        edns
    })
}

/// Names that share tails, so that compression has something to do; with labels of any bytes among them.
pub(super) fn labels() -> impl Strategy<Value = Labels> {
    let common = ["a", "b", "www", "WWW", "_dns", "x-y", "example", "EXAMPLE"]
        .map(|label| label.as_bytes().to_vec());
    let label = prop_oneof![
        6 => proptest::sample::select(common.to_vec()),
        2 => vec(any::<u8>(), 1..=12),
        1 => vec(any::<u8>(), 50..=63),
    ];
    let tails: [&[&str]; 5] =
        [&[], &["org"], &["example", "org"], &["Example", "org"], &["svc", "cluster", "local"]];
    let tails =
        tails.map(|tail| tail.iter().map(|label| label.as_bytes().to_vec()).collect::<Labels>());
    (vec(label, 0..6), proptest::sample::select(tails.to_vec())).prop_map(|(head, tail)| {
        let mut all: Labels = head.into_iter().chain(tail).collect();
        while wire(&all).len() > crate::name::MAX_NAME {
            all.remove(0);
        }
        all
    })
}
