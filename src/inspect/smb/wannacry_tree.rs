//! `smb.wannacry_tree`: WannaCry connects to the share of the machine its exploit was recorded on.
//!
//! The replayed session keeps the address of the developers' laboratory in its tree connect. A client that really talks
//! to that address is no worm.

use crate::evidence::Detail;
use crate::wire::Address;
use crate::wire::smb::text::Path;

const TREES: [(&str, Address); 2] = [
    (r"\\192.168.56.20\ipc$", Address::v4([192, 168, 56, 20])),
    (r"\\172.16.99.5\ipc$", Address::v4([172, 16, 99, 5])),
];

/// Judges the path of a tree connect to `server`.
pub(in crate::inspect) fn recorded(path: &Path, server: Address) -> Option<Detail> {
    let (at, _) = TREES.iter().enumerate().find(|(_, (tree, of))| path.is(tree) && *of != server)?;
    let what = [r"tree connect 0x75 to \\192.168.56.20\IPC$", r"tree connect 0x75 to \\172.16.99.5\IPC$"];
    Some(Detail::Fields {
        what: what.get(at).copied()?,
        values: [0; 4],
        source: "WannaCry's recorded exploit; MS-CIFS 2.2.4.55",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_itself_may_be_talked_to() {
        let path = Path::new(br"\\192.168.56.20\IPC$", false);
        assert!(recorded(&path, Address::v4([10, 0, 0, 1])).is_some());
        assert!(recorded(&path, Address::v4([192, 168, 56, 20])).is_none());
        assert!(recorded(&Path::new(br"\\192.168.56.20\C$", false), Address::v4([10, 0, 0, 1])).is_none());
    }
}
