//! Numbers of the protocol and their mnemonics (IANA "Domain Name System (DNS) Parameters").

macro_rules! codes {
    ($(#[$meta:meta])* $type:ident, $unknown:literal, { $($(#[$doc:meta])* $name:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub u16);

        #[allow(missing_docs, reason = "the mnemonic is the documentation")]
        impl $type {
            $($(#[$doc])* pub const $name: $type = $type($value);)*

            /// The mnemonic, if the number has one here.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// The number of a mnemonic, in any case.
            pub fn from_mnemonic(text: &str) -> Option<$type> {
                $(if text.eq_ignore_ascii_case(stringify!($name)) { return Some($type($value)); })*
                let number = text.get($unknown.len()..).filter(|_| text[..$unknown.len()].eq_ignore_ascii_case($unknown))?;
                number.parse().ok().map($type)
            }
        }

        /// The mnemonic, or the generic form of RFC 3597 for a number that has none.
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.mnemonic() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!($unknown, "{}"), self.0),
                }
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// A record type or question type.
    RecordType, "TYPE", {
        A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, PTR = 12,
        HINFO = 13, MINFO = 14, MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20, RT = 21,
        SIG = 24, KEY = 25, PX = 26, GPOS = 27, AAAA = 28, LOC = 29, NXT = 30, EID = 31, NIMLOC = 32,
        SRV = 33, ATMA = 34, NAPTR = 35, KX = 36, CERT = 37, DNAME = 39, OPT = 41, APL = 42, DS = 43,
        SSHFP = 44, IPSECKEY = 45, RRSIG = 46, NSEC = 47, DNSKEY = 48, DHCID = 49, NSEC3 = 50,
        NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53, HIP = 55, NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59,
        CDNSKEY = 60, OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64, HTTPS = 65, SPF = 99,
        UINFO = 100, UID = 101, GID = 102, UNSPEC = 103, NID = 104, L32 = 105, L64 = 106, LP = 107,
        EUI48 = 108, EUI64 = 109, TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, MAILB = 253,
        MAILA = 254, ANY = 255, URI = 256, CAA = 257, AVC = 258, AMTRELAY = 260, RESINFO = 261,
        TA = 32768, DLV = 32769,
    }
}

codes! {
    /// A record class or question class.
    Class, "CLASS", {
        IN = 1, CS = 2, CH = 3, HS = 4, NONE = 254, ANY = 255,
    }
}

codes! {
    /// A response code, the extended ones of RFC 6891 included.
    Rcode, "RCODE", {
        NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5, YXDOMAIN = 6,
        YXRRSET = 7, NXRRSET = 8, NOTAUTH = 9, NOTZONE = 10, DSOTYPENI = 11, BADVERS = 16, BADKEY = 17, BADTIME = 18,
        BADMODE = 19, BADNAME = 20, BADALG = 21, BADTRUNC = 22, BADCOOKIE = 23,
    }
}

/// Operation codes (RFC 1035 section 4.1.1, RFC 1996).
pub mod opcode {
    /// A standard query.
    pub const QUERY: u8 = 0;
    /// A zone change notification (RFC 1996).
    pub const NOTIFY: u8 = 4;
    /// A dynamic update (RFC 2136).
    pub const UPDATE: u8 = 5;
}

/// Bits of the second header word (RFC 1035 section 4.1.1, RFC 4035 section 3).
pub mod flags {
    /// Response.
    pub const QR: u16 = 0x8000;
    /// The four bits of the opcode.
    pub const OPCODE: u16 = 0x7800;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Reserved.
    pub const Z: u16 = 0x0040;
    /// Authentic data.
    pub const AD: u16 = 0x0020;
    /// Checking disabled.
    pub const CD: u16 = 0x0010;
    /// The four bits of the response code.
    pub const RCODE: u16 = 0x000f;
    /// In the flags of an OPT record: DNSSEC answer OK (RFC 3225).
    pub const DO: u16 = 0x8000;
}

/// EDNS option codes (IANA).
pub mod edns_option {
    /// Long-lived query (RFC 8764).
    pub const LLQ: u16 = 1;
    /// Update lease (RFC 9664).
    pub const UPDATE_LEASE: u16 = 2;
    /// Name server identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// Client subnet (RFC 7871).
    pub const SUBNET: u16 = 8;
    /// Expire (RFC 7314).
    pub const EXPIRE: u16 = 9;
    /// Cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// TCP keepalive (RFC 7828).
    pub const KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended DNS error (RFC 8914).
    pub const EDE: u16 = 15;
    /// Report channel (RFC 9567).
    pub const REPORT_CHANNEL: u16 = 18;
    /// Zone version (RFC 9660).
    pub const ZONEVERSION: u16 = 19;
}
