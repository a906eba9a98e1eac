//! Which connection gives way: three queues through the slots, each in the order in which its connections last spoke.

use crate::track::streams::queue::{NONE, Queue};
use crate::track::streams::{Streams, hash_of};

impl<T: Default> Streams<T> {
    /// Frees the slot whose loss hurts least and returns it.
    pub(super) fn evict(&mut self) -> u32 {
        let index = self.ends.iter().map(|(first, _)| *first).find(|first| *first != NONE).unwrap_or_default();
        if let Some(slot) = self.slots.get(index as usize) {
            if slot.queue != Queue::Closed {
                self.counts.evicted += 1;
            }
            let hash = hash_of(&self.hash_key, slot.link.client, slot.link.server);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == index) {
                entry.remove();
            }
        }
        self.unlink(index);
        self.reorder_buffer.forget(index);
        index
    }

    pub(super) fn requeue(&mut self, index: u32, queue: Queue) {
        // Already the latest of its queue: nothing to move.
        if self.slots.get(index as usize).is_some_and(|slot| slot.queue == queue && slot.after == NONE) {
            return;
        }
        self.unlink(index);
        self.link(index, queue);
    }

    fn unlink(&mut self, index: u32) {
        let Some(slot) = self.slots.get(index as usize) else { return };
        let (queue, before, after) = (slot.queue as usize, slot.before, slot.after);
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.after = after,
            None => {
                if let Some(ends) = self.ends.get_mut(queue) {
                    ends.0 = after;
                }
            }
        }
        match self.slots.get_mut(after as usize) {
            Some(slot) => slot.before = before,
            None => {
                if let Some(ends) = self.ends.get_mut(queue) {
                    ends.1 = before;
                }
            }
        }
    }

    pub(super) fn link(&mut self, index: u32, queue: Queue) {
        let Some(ends) = self.ends.get_mut(queue as usize) else { return };
        let last = std::mem::replace(&mut ends.1, index);
        if last == NONE {
            ends.0 = index;
        }
        if let Some(slot) = self.slots.get_mut(last as usize) {
            slot.after = index;
        }
        if let Some(slot) = self.slots.get_mut(index as usize) {
            (slot.queue, slot.before, slot.after) = (queue, last, NONE);
        }
    }
}
