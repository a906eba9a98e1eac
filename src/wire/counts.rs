//! What frames were, by kind: how many of which ethertype were not read, which tunnels, fragments and encapsulations there
//! were. Bounded, whatever arrives.

use crate::wire::Frame;
use crate::wire::frame::{Encapsulation, FragmentKind, Packet, TunnelKind, Undecoded};

/// Ethertypes that are counted apart; the rest is counted together.
const ETHERTYPES: usize = 16;

/// Frames by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    frames: u64,
    undecoded: [u64; Undecoded::ALL.len()],
    ethertypes: [(u16, u64); ETHERTYPES],
    other_ethertypes: u64,
    encapsulations: [u64; Encapsulation::ALL.len()],
    opened: [u64; TunnelKind::ALL.len()],
    closed: [u64; TunnelKind::ALL.len()],
    fragments: [u64; FragmentKind::ALL.len()],
}

impl FrameCounts {
    /// Counts what decoding gave.
    pub fn count(&mut self, decoded: Result<&Frame<'_>, Undecoded>) {
        self.frames += 1;
        let frame = match decoded {
            Ok(frame) => frame,
            Err(reason) => return add(&mut self.undecoded, reason as usize),
        };
        // Position 0 is "none", which is no member of the list.
        if let Some(at) = (frame.encapsulation as usize).checked_sub(1) {
            add(&mut self.encapsulations, at);
        }
        if let Some(tunnel) = frame.tunnel {
            add(&mut self.opened, tunnel.kind as usize);
        }
        match frame.packet {
            Packet::Tunnel(opaque) => add(&mut self.closed, opaque.kind as usize),
            Packet::Fragment(fragment) => add(&mut self.fragments, fragment.kind as usize),
            Packet::NonIp => {
                if let Some(ethertype) = frame.unread {
                    self.stopped_at(ethertype);
                }
            }
            _ => {}
        }
    }

    fn stopped_at(&mut self, ethertype: u16) {
        let entry = self.ethertypes.iter_mut().find(|(kind, count)| *kind == ethertype || *count == 0);
        match entry {
            Some((kind, count)) => (*kind, *count) = (ethertype, *count + 1),
            None => self.other_ethertypes += 1,
        }
    }

    /// All frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that could not be decoded, by the layer that was cut or malformed.
    pub fn undecoded(&self) -> impl Iterator<Item = (Undecoded, u64)> {
        Undecoded::ALL.into_iter().zip(self.undecoded)
    }

    /// Ethertypes (or what stands for one: see [`Frame::unread`]) behind which nothing was read, and how many frames were
    /// of each, in the order of their first frames; the number of frames that are of none of these, last.
    #[must_use]
    pub fn unread(&self) -> (Vec<(u16, u64)>, u64) {
        let seen = self.ethertypes.iter().copied().filter(|(_, count)| *count > 0);
        (seen.collect(), self.other_ethertypes)
    }

    /// Frames with more between Ethernet and IP than one tag.
    pub fn encapsulations(&self) -> impl Iterator<Item = (Encapsulation, u64)> {
        Encapsulation::ALL.into_iter().zip(self.encapsulations)
    }

    /// Tunnels' packets: those that were looked into, and those that were not.
    pub fn tunnels(&self) -> impl Iterator<Item = (TunnelKind, u64, u64)> {
        let counts = self.opened.into_iter().zip(self.closed);
        TunnelKind::ALL.into_iter().zip(counts).map(|(kind, (opened, closed))| (kind, opened, closed))
    }

    /// Fragments that no honest sender makes.
    pub fn fragments(&self) -> impl Iterator<Item = (FragmentKind, u64)> {
        FragmentKind::ALL.into_iter().zip(self.fragments)
    }
}

fn add(counts: &mut [u64], at: usize) {
    if let Some(count) = counts.get_mut(at) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode;
    use crate::wire::frame::{LinkKind, Meta};

    #[test]
    fn the_first_ethertypes_are_counted_apart_and_the_rest_together() {
        let mut counts = FrameCounts::default();
        for ethertype in 0x9901..=0x9920_u16 {
            let mut frame = vec![2; 12];
            frame.extend(ethertype.to_be_bytes());
            frame.extend([0; 46]);
            for _ in 0..2 {
                let decoded = decode(Meta::default(), LinkKind::Ethernet, &frame);
                counts.count(decoded.as_ref().map_err(|reason| *reason));
            }
        }
        let (apart, together) = counts.unread();
        assert_eq!((apart.len(), apart[0], together), (16, (0x9901, 2), 32));
        assert_eq!(counts.frames(), 64);
    }

    #[test]
    fn every_kind_is_counted_under_its_own_name() {
        for (at, kind) in Encapsulation::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at + 1);
        }
        for (at, kind) in TunnelKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        for (at, kind) in FragmentKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        for (at, reason) in Undecoded::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
