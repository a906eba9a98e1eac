//! `lateral.remote_execution`: DCE/RPC calls that make another machine run something.
//!
//! Interface and operation number stand in the clear even where the call itself is sealed. A call that *plants* a
//! program (creates a service, registers a task, runs a command over WMI) is evidence by itself. A call that merely *starts*
//! what is there is an administrator's daily work, and is evidence only together with an administrative share that the same
//! client lately connected to on the same peer.

use crate::wire::dcerpc::Uuid;

/// Interfaces with such operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// The service control manager (MS-SCMR).
    Services,
    /// The AT service (MS-TSCH 3.2.5.2).
    At,
    /// The task scheduler (MS-TSCH 3.2.5.4).
    Tasks,
    /// WMI (MS-WMI).
    Wmi,
}

impl Interface {
    const ALL: [(Interface, Uuid); 4] = [
        (Interface::Services, Uuid::new(0x367a_bb81, 0x9844, 0x35f1, 0xad32, 0x98f0_3800_1003)),
        (Interface::At, Uuid::new(0x1ff7_0682, 0x0a51, 0x30e8, 0x076d, 0x740b_e8ce_e98b)),
        (Interface::Tasks, Uuid::new(0x86d3_5949, 0x83c9, 0x4044, 0xb424, 0xdb36_3231_fd0c)),
        (Interface::Wmi, Uuid::new(0x9556_dc99, 0x828c, 0x11cf, 0xa37e, 0x00aa_0032_40c7)),
    ];

    /// By its id; `None` for interfaces of no interest.
    #[must_use]
    pub fn of(uuid: Uuid) -> Option<Interface> {
        Interface::ALL.iter().find(|(_, known)| *known == uuid).map(|(interface, _)| *interface)
    }

    /// Its usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Interface::Services => "svcctl",
            Interface::At => "atsvc",
            Interface::Tasks => "ITaskSchedulerService",
            Interface::Wmi => "IWbemServices",
        }
    }
}

/// How a call is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Through a named pipe of SMB's.
    Pipe,
    /// Over TCP by itself.
    Tcp,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Puts something there that will run.
    Plants,
    /// Runs what is there.
    Starts,
}

/// An operation that makes another machine run something.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// Of this interface.
    pub interface: Interface,
    /// Its number.
    pub opnum: u16,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub effect: Effect,
    /// Where it is specified.
    pub source: &'static str,
}

const fn operation(
    interface: Interface,
    opnum: u16,
    name: &'static str,
    effect: Effect,
    source: &'static str,
) -> Operation {
    Operation { interface, opnum, name, effect, source }
}

/// Every operation that is looked for.
pub static OPERATIONS: [Operation; 12] = [
    operation(Interface::Services, 0x0c, "CreateServiceW", Effect::Plants, "MS-SCMR 3.1.4.12"),
    operation(Interface::Services, 0x13, "StartServiceW", Effect::Starts, "MS-SCMR 3.1.4.19"),
    operation(Interface::Services, 0x18, "CreateServiceA", Effect::Plants, "MS-SCMR 3.1.4"),
    operation(Interface::Services, 0x1f, "StartServiceA", Effect::Starts, "MS-SCMR 3.1.4"),
    operation(Interface::Services, 0x2c, "CreateServiceWOW64A", Effect::Plants, "MS-SCMR 3.1.4.41"),
    operation(Interface::Services, 0x2d, "CreateServiceWOW64W", Effect::Plants, "MS-SCMR 3.1.4.42"),
    operation(Interface::Services, 0x3c, "CreateWowService", Effect::Plants, "MS-SCMR 3.1.4.49"),
    operation(Interface::At, 0x00, "NetrJobAdd", Effect::Plants, "MS-TSCH 3.2.5.2.1"),
    operation(Interface::Tasks, 0x01, "SchRpcRegisterTask", Effect::Plants, "MS-TSCH 3.2.5.4.2"),
    operation(Interface::Tasks, 0x0c, "SchRpcRun", Effect::Starts, "MS-TSCH 3.2.5.4.13"),
    operation(Interface::Wmi, 0x18, "ExecMethod", Effect::Plants, "MS-WMI 3.1.4.3.22"),
    operation(Interface::Wmi, 0x19, "ExecMethodAsync", Effect::Plants, "MS-WMI 3.1.4.3.23"),
];

impl Operation {
    /// The operation of an interface by its number; `None` where it runs nothing.
    #[must_use]
    pub fn of(interface: Interface, opnum: u16) -> Option<&'static Operation> {
        OPERATIONS.iter().find(|known| known.interface == interface && known.opnum == opnum)
    }

    /// Its place in [`OPERATIONS`], as a bit.
    #[must_use]
    pub fn bit(&self) -> u16 {
        OPERATIONS.iter().position(|known| known == self).map_or(0, |place| 1 << place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_and_has_a_bit_of_its_own() {
        let mut bits = 0;
        for known in &OPERATIONS {
            assert_eq!(Operation::of(known.interface, known.opnum), Some(known));
            assert_eq!(bits & known.bit(), 0);
            bits |= known.bit();
        }
        assert_eq!(Operation::of(Interface::Services, 0x0f), None);
    }

    #[test]
    fn interfaces_are_known_by_their_ids_on_the_wire() {
        let svcctl = [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0, 0x10, 3];
        assert_eq!(Interface::of(Uuid(svcctl)), Some(Interface::Services));
        assert_eq!(Interface::of(Uuid([0; 16])), None);
    }
}
