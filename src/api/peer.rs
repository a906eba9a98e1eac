//! Who asks, as the kernel vouches for it, and whether they may act.
//!
//! Whoever can open the socket may read. Only root and members of the configured group may act: by primary group, by
//! the supplementary groups the process had when it connected (SO_PEERGROUPS), whatever name service they came from.
//! Names are looked up in `/etc/passwd` and `/etc/group` only: a confined daemon loads no name-service modules. A
//! directory user without a line there acts under the name `uid N`.

use std::fs;
use std::os::fd::AsFd;

use tokio::net::UnixStream;

use crate::api::serve::Client;
use crate::sys::peer;

/// The other end of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user's name, or `uid N`.
    pub name: String,
    /// Whether it may act.
    pub may_act: bool,
}

impl Peer {
    /// Asks the kernel. A peer that it cannot vouch for may read, and not act.
    #[must_use]
    pub fn of(stream: &UnixStream, group: Option<u32>) -> Self {
        let Ok(credentials) = stream.peer_cred() else {
            return Peer { name: "unknown".to_owned(), may_act: false };
        };
        let groups = peer::groups(stream.as_fd()).unwrap_or_default();
        Peer {
            name: user_name(credentials.uid()),
            may_act: may_act(credentials.uid(), credentials.gid(), &groups, group),
        }
    }
}

/// Whose seat a connection takes.
pub(super) fn client(stream: &UnixStream, group: Option<u32>) -> Client {
    stream.peer_cred().map_or_else(
        |_| Client::default(),
        |credentials| {
            let groups = peer::groups(stream.as_fd()).unwrap_or_default();
            let member = may_act(credentials.uid(), credentials.gid(), &groups, group);
            Client { user: Some(credentials.uid()), member }
        },
    )
}

fn may_act(uid: u32, gid: u32, groups: &[u32], wanted: Option<u32>) -> bool {
    uid == 0 || wanted.is_some_and(|wanted| gid == wanted || groups.contains(&wanted))
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&passwd, uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// The group's number, if `/etc/group` has it.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (found, _password, gid) = (fields.next()?, fields.next()?, fields.next()?);
        (found == name).then(|| gid.parse().ok()).flatten()
    })
}

/// The group's name, if `/etc/group` has it.
#[must_use]
pub fn group_name(gid: u32) -> Option<String> {
    name_of(&fs::read_to_string("/etc/group").ok()?, gid)
}

/// The name with this number in the text of `passwd` (passwd(5)) or `group` (group(5)): the first line that has it.
fn name_of(lines: &str, number: u32) -> Option<String> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, found) = (fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty() && found.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_group_may_act() {
        for (uid, gid, groups, wanted, may) in [
            (0, 0, &[][..], None, true),
            (0, 5, &[], Some(990), true),
            (1000, 990, &[], Some(990), true),
            (1000, 1000, &[4, 990], Some(990), true),
            (1000, 1000, &[4, 991], Some(990), false),
            (1000, 1000, &[4, 990], None, false),
            (990, 1000, &[], Some(990), false),
        ] {
            assert_eq!(may_act(uid, gid, groups, wanted), may, "{uid} {gid} {groups:?} {wanted:?}");
        }
    }

    #[test]
    fn names_come_from_the_first_line_with_the_number() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:\nbroken\nana:x:1000:1000:Ana:/home/ana:/bin/sh\n::7::\n";
        assert_eq!(name_of(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("ana"));
        assert_eq!(name_of(passwd, 7), None);
        assert_eq!(name_of(passwd, 8), None);
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_name(0).as_deref(), Some("root"));
        assert_eq!(group_id("no such group here"), None);
    }
}
