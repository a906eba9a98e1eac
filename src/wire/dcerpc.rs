//! Connection-oriented DCE/RPC headers (C706 chapter 12, MS-RPCE 2.2.2): common header, bind contexts, requests, and
//! the endpoints that answers on port 135 name.
//!
//! Contract: `new_checked` refuses what is shorter than its fixed part or is not version 5; after it no accessor
//! panics, and fields past the end read as zero. Both byte orders are read. Nothing here keeps state: which context
//! stands for which interface is the follower's to remember.

use crate::wire::field::{Field, bytes, octet, span};

/// Bytes of the common header.
pub const HEADER: usize = 16;

mod field {
    use super::Field;

    pub const VERSION: usize = 0;
    pub const MINOR: usize = 1;
    pub const KIND: usize = 2;
    pub const FLAGS: usize = 3;
    pub const REPRESENTATION: usize = 4;
    pub const FRAGMENT_LENGTH: Field = 8..10;
    pub const REQUEST_CONTEXT: Field = 20..22;
    pub const REQUEST_OPERATION: Field = 22..24;
    pub const BIND_CONTEXTS: usize = 24;
}

const FIRST_FRAGMENT: u8 = 0x01;

/// What a PDU is (C706 12.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0: a call.
    Request,
    /// 2: its answer.
    Response,
    /// 3: its failure.
    Fault,
    /// 11: opens the association and its contexts.
    Bind,
    /// 12, 15: contexts accepted.
    Accepted,
    /// 13: bind refused.
    Refused,
    /// 14: further contexts.
    Alter,
    /// 16: the third leg of authentication.
    Authenticate,
    /// 17, 18, 19: shutdown, cancel, orphaned.
    Control,
}

impl Kind {
    const fn of(octet: u8) -> Option<Kind> {
        Some(match octet {
            0 => Kind::Request,
            2 => Kind::Response,
            3 => Kind::Fault,
            11 => Kind::Bind,
            12 | 15 => Kind::Accepted,
            13 => Kind::Refused,
            14 => Kind::Alter,
            16 => Kind::Authenticate,
            17..=19 => Kind::Control,
            _ => return None,
        })
    }

    /// Whether only a client sends it.
    #[must_use]
    pub const fn is_clients(self) -> bool {
        matches!(self, Kind::Request | Kind::Bind | Kind::Alter | Kind::Authenticate)
    }

    /// Whether only a server sends it.
    #[must_use]
    pub const fn is_servers(self) -> bool {
        matches!(self, Kind::Response | Kind::Fault | Kind::Accepted | Kind::Refused)
    }
}

/// The common header, and what follows of a request or bind.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    data: &'a [u8],
    kind: Kind,
    fragment: u16,
}

impl<'a> Header<'a> {
    /// How many bytes a request's context and operation need.
    pub const REQUEST: usize = 24;
    /// Where a bind's contexts start.
    pub const BIND: usize = 28;

    /// Refuses what is shorter than the common header, of another version, of an unknown type or representation, or
    /// announces a fragment shorter than the header.
    #[must_use]
    pub fn new_checked(data: &'a [u8]) -> Option<Header<'a>> {
        let kind = Kind::of(*data.get(field::KIND)?)?;
        let versioned = octet(data, field::VERSION) == 5 && octet(data, field::MINOR) <= 1;
        // Integers little- or big-endian, ASCII or EBCDIC; floats IEEE to IBM; two reserved bytes (C706 14.1).
        let [integers, floats, 0, 0] = bytes::<4>(data, &span(field::REPRESENTATION, 4))? else { return None };
        let mut header = Header { data, kind, fragment: 0 };
        header.fragment = header.number(&field::FRAGMENT_LENGTH);
        let sane = integers & 0xee == 0 && floats <= 3 && usize::from(header.fragment) >= HEADER;
        (data.len() >= HEADER && versioned && sane).then_some(header)
    }

    fn little(&self) -> bool {
        octet(self.data, field::REPRESENTATION) & 0xf0 == 0x10
    }

    fn number(&self, field: &Field) -> u16 {
        let raw = bytes(self.data, field).unwrap_or_default();
        if self.little() { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is the first fragment of its call.
    #[must_use]
    pub fn is_first(&self) -> bool {
        octet(self.data, field::FLAGS) & FIRST_FRAGMENT != 0
    }

    /// Length of the whole PDU, header included.
    #[must_use]
    pub fn length(&self) -> u16 {
        self.fragment
    }

    /// Whether its numbers are little-endian.
    #[must_use]
    pub fn is_little_endian(&self) -> bool {
        self.little()
    }

    /// Request: context id and operation number. They stand in the clear even where the call is sealed.
    #[must_use]
    pub fn call(&self) -> Option<(u16, u16)> {
        (self.kind == Kind::Request && self.data.len() >= Header::REQUEST)
            .then(|| (self.number(&field::REQUEST_CONTEXT), self.number(&field::REQUEST_OPERATION)))
    }

    /// Bind and alter context: how many presentation contexts follow.
    #[must_use]
    pub fn contexts(&self) -> u8 {
        if matches!(self.kind, Kind::Bind | Kind::Alter) { octet(self.data, field::BIND_CONTEXTS) } else { 0 }
    }
}

/// One presentation context of a bind: its id, and the interface it stands for (C706 12.6.3.1, `p_cont_elem_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The id that requests carry.
    pub id: u16,
    /// The interface.
    pub interface: Uuid,
    /// From this context to the next.
    pub stride: u32,
}

impl Context {
    /// Bytes needed to read one: id, counts and abstract syntax.
    pub const LENGTH: usize = 24;

    /// Reads the context at the start of `data`; `None` where it is cut.
    #[must_use]
    pub fn new_checked(data: &[u8], little_endian: bool) -> Option<Context> {
        let id = bytes(data, &(0..2)).map(if little_endian { u16::from_le_bytes } else { u16::from_be_bytes })?;
        let transfers = octet(data, 2);
        let mut interface: [u8; 16] = bytes(data, &(4..20))?;
        if !little_endian {
            let [a, b, c, d, e, f, g, h, ..] = &mut interface;
            std::mem::swap(a, d);
            std::mem::swap(b, c);
            std::mem::swap(e, f);
            std::mem::swap(g, h);
        }
        Some(Context { id, interface: Uuid(interface), stride: 24 + 20 * u32::from(transfers) })
    }
}

/// An interface's id, as little-endian DCE/RPC writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// From the usual notation's five numbers.
    #[must_use]
    pub const fn new(a: u32, b: u16, c: u16, d: u16, e: u64) -> Uuid {
        let a = a.to_le_bytes();
        let b = b.to_le_bytes();
        let c = c.to_le_bytes();
        let d = d.to_be_bytes();
        let e = e.to_be_bytes();
        Uuid([a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], e[2], e[3], e[4], e[5], e[6], e[7]])
    }
}

/// Bytes of overlap that two neighbouring windows need so that no endpoint is missed between them.
pub const ENDPOINT_OVERLAP: usize = 14;

/// The TCP ports that an answer on port 135 names: in a tower of the endpoint mapper (C706 appendix L: floor protocol
/// 0x07, port big-endian, followed by the IP floor 0x09), or in a DCOM string binding (`10.0.0.9[49667]`, UTF-16;
/// MS-DCOM 2.2.19.3). The stub's marshalling is passed over, not parsed: both patterns are looked for as they are.
pub fn endpoints(stub: &[u8]) -> impl Iterator<Item = u16> + '_ {
    (0..stub.len()).filter_map(|at| {
        let here = stub.get(at..)?;
        tower_port(here).or_else(|| binding_port(here))
    })
}

fn tower_port(data: &[u8]) -> Option<u16> {
    match data {
        [1, 0, 0x07, 2, 0, high, low, 1, 0, 0x09, 4, 0, ..] => {
            Some(u16::from_be_bytes([*high, *low])).filter(|port| *port != 0)
        }
        _ => None,
    }
}

fn binding_port(data: &[u8]) -> Option<u16> {
    let mut pairs = data.chunks_exact(2).map(|pair| if let [low, 0] = pair { *low } else { 0 });
    if pairs.next() != Some(b'[') {
        return None;
    }
    let mut port = 0_u32;
    for (digits, byte) in pairs.take(6).enumerate() {
        match byte {
            b'0'..=b'9' => port = port * 10 + u32::from(byte - b'0'),
            b']' if digits > 0 => return u16::try_from(port).ok().filter(|port| *port != 0),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVCCTL: Uuid = Uuid::new(0x367a_bb81, 0x9844, 0x35f1, 0xad32, 0x98f0_3800_1003);

    fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut data = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
        data.extend(u16::try_from(16 + body.len()).unwrap().to_le_bytes());
        data.extend([0; 6]);
        data.extend(body);
        data
    }

    #[test]
    fn a_request_names_context_and_operation() {
        let data = pdu(0, &[9, 9, 9, 9, 1, 0, 0x0c, 0, 5]);
        let header = Header::new_checked(&data).unwrap();
        assert_eq!((header.kind(), header.call(), header.length()), (Kind::Request, Some((1, 12)), 25));
        assert!(header.is_first());
        assert_eq!(Header::new_checked(&data[..20]).unwrap().call(), None);
    }

    #[test]
    fn big_endian_reads_the_same() {
        let data = [5, 0, 0, 3, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12];
        let header = Header::new_checked(&data).unwrap();
        assert_eq!((header.length(), header.call()), (24, Some((1, 12))));
        let mut context = [0, 1, 1, 0].to_vec();
        context.extend([0x36, 0x7a, 0xbb, 0x81, 0x98, 0x44, 0x35, 0xf1]);
        context.extend(&SVCCTL.0[8..]);
        context.extend([0; 24]);
        assert_eq!(Context::new_checked(&context, false), Some(Context { id: 1, interface: SVCCTL, stride: 44 }));
    }

    #[test]
    fn uuids_are_written_little_endian() {
        assert_eq!(SVCCTL.0[..8], [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35]);
        assert_eq!(SVCCTL.0[8..], [0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03]);
    }

    #[test]
    fn what_is_no_pdu_is_refused() {
        assert!(Header::new_checked(&pdu(1, &[])).is_none());
        assert!(Header::new_checked(&pdu(20, &[])).is_none());
        assert!(Header::new_checked(&pdu(0, &[])[..15]).is_none());
        let mut short = pdu(0, &[]);
        short[8] = 15;
        assert!(Header::new_checked(&short).is_none());
        let mut version = pdu(0, &[]);
        version[0] = 4;
        assert!(Header::new_checked(&version).is_none());
    }

    #[test]
    fn towers_and_string_bindings_name_ports() {
        let mut stub = vec![7; 30];
        stub.extend([1, 0, 7, 2, 0, 0xc2, 0x3e, 1, 0, 9, 4, 0, 10, 0, 0, 9]);
        stub.extend("10.0.0.9[50937]".encode_utf16().flat_map(u16::to_le_bytes));
        stub.extend("[99999][][1234567]".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(endpoints(&stub).collect::<Vec<_>>(), [49726, 50937]);
        // Cut into windows that overlap, nothing is lost.
        for cut in 0..stub.len() {
            let (first, second) = (&stub[..cut], &stub[cut.saturating_sub(ENDPOINT_OVERLAP)..]);
            let mut both: Vec<u16> = endpoints(first).chain(endpoints(second)).collect();
            both.dedup();
            both.sort_unstable();
            both.dedup();
            assert_eq!(both, [49726, 50937], "cut at {cut}");
        }
    }
}
