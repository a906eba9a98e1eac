//! Interfaces that are renamed while they are watched.
//!
//! A name is how an engineer says which device to watch; the device is its index. A device that loses its name stays
//! watched under the new one, and a device that takes the name is watched too.

use std::io;

use crate::sys::packet::{Interface, Socket};

/// What a watched name stands for now.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The device that has the name; without one, the device that had it before.
    pub now: Option<Interface>,
    /// The device that had the name before another took it, under its new name.
    pub former: Option<(String, Interface)>,
}

/// Looks up `name`, which the device of index `before` had (0 for none). A device that took another of the `watched`
/// names is watched under that one.
pub(super) fn look(socket: &Socket, name: &str, before: u32, watched: &[String]) -> io::Result<Look> {
    let now = socket.interface(name)?;
    if before == 0 || now.is_some_and(|now| now.index == before) {
        return Ok(Look { now, former: None });
    }
    let former = socket.interface_at(before)?.filter(|(name, _)| !watched.contains(name));
    Ok(match (now, former) {
        (None, Some((_, former))) => Look { now: Some(former), former: None },
        (now, former) => Look { now, former },
    })
}
