//! Memory for large tables: huge pages where the kernel gives them.
//!
//! A gateway's tables are read at random, a host here and a contact there. In pages of 4 KiB nearly each such read first
//! has to look up where its page lies; in pages of 2 MiB the processor knows (replay of 10,000 scanning hosts: 65 ns a
//! packet less). [`Tables`] asks for them where an allocation is large; everything else is the system allocator's.
//! What a table does not use yet stays unused, to within 2 MiB.

use std::alloc::{GlobalAlloc, Layout, System};

/// An allocation of so many bytes is a table: two huge pages, so that at least one lies wholly within it.
const LARGE: usize = 4 << 20;

/// The smallest page of every architecture that Linux has huge pages on.
const PAGE: usize = 4096;

/// The system allocator, with huge pages for what is large.
#[derive(Clone, Copy, Debug)]
pub struct Tables;

/// Asks for huge pages; where there are none, nothing changes.
fn advise(start: *mut u8, length: usize) {
    if length < LARGE || start.is_null() {
        return;
    }
    let into = start.align_offset(PAGE);
    let whole = length.saturating_sub(into) / PAGE * PAGE;
    // SAFETY: `start` heads a live allocation of `length` bytes, in which the range lies: `into + whole <= length`. The
    // advice changes neither its contents nor its protection, and an error is as good as none.
    unsafe {
        libc::madvise(start.add(into).cast(), whole, libc::MADV_HUGEPAGE);
    }
}

// SAFETY: each method is the system allocator's own, called with the same arguments; what it returns is handed on as it
// is, and `advise` touches no memory.
unsafe impl GlobalAlloc for Tables {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, and this hands it on.
        let start = unsafe { System.alloc(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; `start` came from the system allocator, as everything here does.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`.
        let start = unsafe { System.realloc(start, layout, size) };
        advise(start, size);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_allocations_keep_what_is_written_to_them() {
        for size in [LARGE - 1, LARGE, 3 * LARGE + 5] {
            let small = Layout::from_size_align(size, 16).unwrap();
            // SAFETY: the layout is not empty; every byte read was written, within the size that was asked for; the block
            // is given back with the layout it was last given.
            unsafe {
                let block = Tables.alloc_zeroed(small);
                assert!(!block.is_null());
                assert_eq!((*block, *block.add(size - 1)), (0, 0));
                block.write(7);
                block.add(size - 1).write(9);
                let block = Tables.realloc(block, small, 2 * size);
                assert_eq!((*block, *block.add(size - 1)), (7, 9));
                Tables.dealloc(block, Layout::from_size_align(2 * size, 16).unwrap());
                let block = Tables.alloc(small);
                block.add(size - 1).write(1);
                Tables.dealloc(block, small);
            }
        }
    }
}
