//! `smb.doublepulsar`: the implant's knock.
//!
//! DoublePulsar takes the place of srv.sys' handler for Trans2 subcommands that were never implemented, and hears
//! `TRANS2_SESSION_SETUP` (0x000E), which no client sends. Ping, execution and removal all come that way; an implanted
//! host answers `STATUS_NOT_IMPLEMENTED` with the multiplex id 16 higher.
//!
//! Of the other unimplemented subcommands some are in use after all (0x0004 by the CIFS UNIX extensions and for quotas,
//! MS-SMB 2.2.6.4; 0x000A by OS/2 print clients), so they count only with the multiplex ids of the known tools.

use crate::evidence::Detail;
use crate::wire::smb::smb1::status;
use crate::wire::smb::transaction::{Family, Transaction};

const SESSION_SETUP: u16 = 0x000e;
const OTHERS: [u16; 4] = [0x0004, 0x0009, 0x000a, 0x0011];
/// 65 in the ping, 66 in what follows.
const TOOLS: [u16; 2] = [65, 66];
/// By how much the implant's answer raises the multiplex id.
const RAISED: u16 = 16;

/// Judges a transaction request.
pub(in crate::inspect) fn knock(request: &Transaction<'_>, multiplex: u16) -> Option<Detail> {
    let subcommand =
        request.setup(0).filter(|_| request.family() == Family::Transaction2 && !request.is_secondary())?;
    let knocks = subcommand == SESSION_SETUP || OTHERS.contains(&subcommand) && TOOLS.contains(&multiplex);
    knocks.then_some(Detail::Fields {
        what: "Trans2 0x32 with subcommand {}, which no client sends (multiplex id {})",
        values: [subcommand.into(), multiplex.into(), 0, 0],
        source: "MS-CIFS 2.2.6.15; MS17-010",
    })
}

/// Whether a Trans2 answer is the implant's, to a request with multiplex id `asked`.
pub(in crate::inspect) fn is_implants(asked: u16, answered: u16, status: u32) -> bool {
    answered == asked.wrapping_add(RAISED) && status == status::NOT_IMPLEMENTED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::smb::smb1::Block;

    #[test]
    fn what_old_clients_send_is_no_knock() {
        for (subcommand, multiplex, knocks) in [
            (0x0e, 65, true),
            (0x0e, 7, true),
            (0x04, 7, false),
            (0x0a, 7, false),
            (0x11, 65, true),
            (0x05, 65, false),
            (0x10, 65, false),
        ] {
            let mut data = vec![0; 31];
            data[0] = 15;
            data[27] = 1;
            data[29] = subcommand;
            let block = Block::new_checked(&data, 32).unwrap();
            let request = Transaction::new_checked(0x32, block).unwrap();
            assert_eq!(knock(&request, multiplex).is_some(), knocks, "{subcommand:#x} {multiplex}");
            let other = Transaction::new_checked(0x25, block).unwrap();
            assert_eq!(knock(&other, multiplex), None);
        }
    }

    #[test]
    fn only_the_implant_raises_the_multiplex_id() {
        assert!(is_implants(65, 81, 0xc000_0002));
        assert!(!is_implants(65, 65, 0xc000_0002));
        assert!(!is_implants(65, 81, 0));
    }
}
