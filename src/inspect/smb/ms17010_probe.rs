//! `smb.ms17_010_probe`: is this host patched?
//!
//! The scanners (WannaCry's and NotPetya's, Metasploit's, nmap's) peek at a named pipe through a handle that no server
//! gave out: an unpatched host answers 0xC0000205, a patched one 0xC0000022 or 0xC0000008. Others send the peek without
//! its handle word. A real client peeks at a pipe it has opened, and handle 0 is given out by no Windows and no Samba;
//! should some other server have given it out on this very connection, peeking at it is no probe.

use crate::evidence::Detail;
use crate::wire::smb::transaction::{Family, Transaction, pipe};

const SOURCE: &str = "MS17-010; MS-CIFS 2.2.5.5";

/// Judges a transaction request; `zero_given_out` says that the server answered an open with handle 0.
pub(in crate::inspect) fn probe(request: &Transaction<'_>, zero_given_out: bool) -> Option<Detail> {
    let peeks = request.family() == Family::Transaction && request.setup(0) == Some(pipe::PEEK);
    let setup = u32::from(request.setup_count());
    if !peeks {
        return None;
    }
    match request.setup(1) {
        Some(0) if !zero_given_out => Some(Detail::Fields {
            what: "transaction 0x25, setup count {}, subcommand {} (peek) on handle {}, which no server gave out",
            values: [setup, pipe::PEEK.into(), 0, 0],
            source: SOURCE,
        }),
        Some(_) => None,
        None => Some(Detail::Fields {
            what: "transaction 0x25, setup count {}, subcommand {} (peek) without the handle it must have",
            values: [setup, pipe::PEEK.into(), 0, 0],
            source: SOURCE,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::smb::smb1::Block;

    fn peek(setup: &[u16]) -> Vec<u8> {
        let mut data = vec![0; 29];
        data[0] = 14 + u8::try_from(setup.len()).unwrap();
        data[27] = u8::try_from(setup.len()).unwrap();
        data.extend(setup.iter().flat_map(|word| word.to_le_bytes()));
        data
    }

    #[test]
    fn only_a_peek_at_a_handle_that_was_not_given_out_is_a_probe() {
        for (setup, zero_given_out, probes) in [
            (&[0x23, 0][..], false, true),
            (&[0x23, 0], true, false),
            (&[0x23], false, true),
            (&[0x23], true, true),
            (&[0x23, 0x4000], false, false),
            (&[0x26, 0], false, false),
            (&[], false, false),
        ] {
            let data = peek(setup);
            let request = Transaction::new_checked(0x25, Block::new_checked(&data, 32).unwrap()).unwrap();
            assert_eq!(probe(&request, zero_given_out).is_some(), probes, "{setup:?} {zero_given_out}");
        }
    }
}
