//! What a client did to a server, over all its connections: the part of the evidence that no single one holds.

use std::time::Duration;

use crate::evidence::{Detail, Signal};
use crate::inspect::dcerpc::remote_execution::{Carrier, Effect, Operation};
use crate::inspect::smb::eternalblue;
use crate::time::Timestamp;

/// An administrative share counts for calls within this time (DESIGN.md).
const SHARE_MEMORY: Duration = Duration::from_secs(600);
/// A remote execution or an exploit seen again within this time is the same one.
const REPORT_MEMORY: Duration = Duration::from_secs(600);
/// A pair that has spoken SMB1 is no new pair for so long.
const SMB1_MEMORY: Duration = Duration::from_secs(86_400);

/// What a pair's indicators add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairFinding {
    pub signal: Signal,
    pub detail: Detail,
    pub new_peer: bool,
}

/// One client and one server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair {
    /// When the client last connected to an administrative share.
    share: Option<Timestamp>,
    /// When SMB1 was last spoken.
    smb1: Option<Timestamp>,
    /// When a remote execution was last reported, and which operations were.
    executed: Option<Timestamp>,
    operations: u16,
    /// When an exploit was last reported, and which signals were, by number.
    exploited: Option<Timestamp>,
    signals: u64,
    /// When the groom's first connection opened, and how many there were.
    groomed: Option<Timestamp>,
    grooms: u8,
    /// The client has asked the server's endpoint mapper, or activated an object there.
    mapper: bool,
}

fn within(last: Option<Timestamp>, memory: Duration, at: Timestamp) -> bool {
    last.is_some_and(|last| at.since(last) < memory)
}

impl Pair {
    /// An association with the endpoint mapper.
    pub fn asked_mapper(&mut self) {
        self.mapper = true;
    }

    /// Whether there was one.
    pub fn has_asked_mapper(&self) -> bool {
        self.mapper
    }

    /// A tree connect to an administrative share.
    pub fn connected_admin_share(&mut self, at: Timestamp) {
        self.share = Some(at);
    }

    /// SMB1 was offered alone, or agreed on: reported once a day.
    pub fn spoke_smb1(&mut self, detail: Detail, at: Timestamp) -> Option<PairFinding> {
        let new = !within(self.smb1, SMB1_MEMORY, at);
        self.smb1 = Some(at);
        new.then_some(PairFinding { signal: Signal::Smb1, detail, new_peer: true })
    }

    /// An exploit-grade indicator: reported once while it lasts.
    pub fn exploited(&mut self, signal: Signal, detail: Detail, at: Timestamp) -> Option<PairFinding> {
        if !within(self.exploited, REPORT_MEMORY, at) {
            self.signals = 0;
        }
        let bit = 1_u64 << (signal as u32 % 64);
        let new = self.signals & bit == 0;
        self.signals |= bit;
        self.exploited = Some(at);
        new.then_some(PairFinding { signal, detail, new_peer: true })
    }

    /// A connection of EternalBlue's groom.
    pub fn groomed(&mut self, at: Timestamp) -> Option<PairFinding> {
        if !within(self.groomed, eternalblue::GROOM_WITHIN, at) {
            (self.groomed, self.grooms) = (Some(at), 0);
        }
        self.grooms = self.grooms.saturating_add(1);
        (self.grooms >= eternalblue::GROOM)
            .then(|| self.exploited(Signal::EternalBlue, eternalblue::groom(self.grooms), at))
            .flatten()
    }

    /// A call that makes the server run something; `new_peer` only for the first of its kind between the two.
    pub fn called(&mut self, operation: &'static Operation, carrier: Carrier, at: Timestamp) -> Option<PairFinding> {
        let share = within(self.share, SHARE_MEMORY, at);
        if operation.effect == Effect::Starts && !share {
            return None;
        }
        let new_peer = !within(self.executed, REPORT_MEMORY, at);
        if new_peer {
            self.operations = 0;
        }
        let bit = operation.bit();
        let new = self.operations & bit == 0;
        self.operations |= bit;
        self.executed = Some(at);
        let way = match (carrier, share) {
            (Carrier::Pipe, true) => "over a named pipe, with an administrative share connected",
            (Carrier::Pipe, false) => "over a named pipe",
            (Carrier::Tcp, true) => "over TCP, with an administrative share connected",
            (Carrier::Tcp, false) => "over TCP",
        };
        let detail = Detail::Call {
            interface: operation.interface.name(),
            operation: operation.name,
            opnum: operation.opnum,
            way,
            source: operation.source,
        };
        new.then_some(PairFinding { signal: Signal::RemoteExecution, detail, new_peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dcerpc::remote_execution::Interface;

    fn operation(interface: Interface, opnum: u16) -> &'static Operation {
        Operation::of(interface, opnum).unwrap()
    }

    #[test]
    fn starting_a_service_tells_only_with_an_administrative_share() {
        let start = operation(Interface::Services, 0x13);
        let at = Timestamp::from_secs(1000);
        let mut pair = Pair::default();
        assert_eq!(pair.called(start, Carrier::Pipe, at), None);
        pair.connected_admin_share(at);
        assert_eq!(pair.called(start, Carrier::Pipe, at + SHARE_MEMORY), None);
        assert!(pair.called(start, Carrier::Pipe, at + Duration::from_secs(599)).unwrap().new_peer);
    }

    #[test]
    fn one_peer_weighs_once_but_every_operation_is_named() {
        let at = Timestamp::from_secs(1000);
        let mut pair = Pair::default();
        let create = pair.called(operation(Interface::Services, 0x0c), Carrier::Pipe, at).unwrap();
        assert!(create.new_peer);
        assert_eq!(create.detail.to_string(), "svcctl CreateServiceW (opnum 0xc) over a named pipe [MS-SCMR 3.1.4.12]");
        assert_eq!(pair.called(operation(Interface::Services, 0x0c), Carrier::Pipe, at), None);
        let wmi = pair.called(operation(Interface::Wmi, 0x18), Carrier::Tcp, at).unwrap();
        assert!(!wmi.new_peer);
        let later = at + REPORT_MEMORY;
        assert!(pair.called(operation(Interface::Wmi, 0x18), Carrier::Tcp, later).unwrap().new_peer);
    }

    #[test]
    fn a_few_groom_connections_within_a_minute_are_the_exploit() {
        let mut pair = Pair::default();
        let at = Timestamp::from_secs(1000);
        let slow: Vec<_> = (0..5).map(|n| pair.groomed(at + Duration::from_secs(61 * n))).collect();
        assert!(slow.iter().all(Option::is_none));
        let at = Timestamp::from_secs(9000);
        let fast: Vec<_> = (0..9).map(|n| pair.groomed(at + Duration::from_secs(n)).is_some()).collect();
        assert_eq!(fast, [false, false, true, false, false, false, false, false, false]);
    }

    #[test]
    fn smb1_with_a_known_peer_is_no_news() {
        let mut pair = Pair::default();
        let at = Timestamp::from_secs(1000);
        assert!(pair.spoke_smb1(Detail::Answered, at).is_some());
        assert!(pair.spoke_smb1(Detail::Answered, at + Duration::from_secs(80_000)).is_none());
        assert!(pair.spoke_smb1(Detail::Answered, at + Duration::from_secs(180_000)).is_some());
    }
}
