//! The trees of one connection: which of them hold named pipes.
//!
//! A file's contents may look like anything, DCE/RPC included, so writes are read as DCE/RPC only where the tree is
//! `IPC$` or was connected before we watched.

use crate::wire::smb::text::Share;

/// Requests that wait for the server's tree id, and the trees of known kind.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::inspect) struct Trees {
    asked: [Option<(u64, Share)>; 2],
    known: [Option<(u32, bool)>; Trees::MOST],
    next: u8,
}

impl Trees {
    const MOST: usize = 8;

    /// A tree connect, by message or multiplex id.
    pub fn ask(&mut self, message: u64, share: Share) {
        let [latest, former] = &mut self.asked;
        *former = latest.replace((message, share));
    }

    /// The server's answer; `pipes` is its own word on what the share is, where the protocol has one.
    pub fn answer(&mut self, message: u64, tree: u32, pipes: Option<bool>) {
        let asked = self.asked.iter_mut().find(|asked| asked.is_some_and(|(id, _)| id == message));
        let share = asked.and_then(Option::take).map(|(_, share)| share);
        let Some(pipes) = pipes.or(share.map(|share| share == Share::Pipes)) else { return };
        let same = self.known.iter().position(|known| known.is_some_and(|(id, _)| id == tree));
        let place = same.or_else(|| self.known.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.next = (self.next + 1) % 8;
            usize::from(self.next)
        });
        if let Some(place) = self.known.get_mut(place) {
            *place = Some((tree, pipes));
        }
    }

    /// Whether what is written into a tree may be DCE/RPC.
    pub fn may_hold_pipes(&self, tree: Option<u32>) -> bool {
        let known = self.known.iter().flatten().find(|(id, _)| Some(*id) == tree);
        known.is_none_or(|(_, pipes)| *pipes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tree_of_another_kind_is_known_to_hold_no_pipes() {
        let mut trees = Trees::default();
        assert!(trees.may_hold_pipes(Some(1)));
        trees.ask(7, Share::Other);
        trees.ask(8, Share::Pipes);
        trees.answer(8, 1, None);
        trees.answer(7, 2, None);
        assert!(trees.may_hold_pipes(Some(1)) && !trees.may_hold_pipes(Some(2)));
        assert!(trees.may_hold_pipes(Some(3)) && trees.may_hold_pipes(None));
        trees.answer(99, 3, Some(false));
        assert!(!trees.may_hold_pipes(Some(3)));
        for tree in 10..200 {
            trees.answer(99, tree, Some(false));
        }
        assert!(!trees.may_hold_pipes(Some(199)));
    }
}
