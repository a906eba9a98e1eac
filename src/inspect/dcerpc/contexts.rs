//! Which interface a presentation context of DCE/RPC stands for, on each pipe of a connection.
//!
//! Only contexts of interfaces that can make a machine run something are kept, a dozen at most, the oldest given up.

use crate::inspect::dcerpc::remote_execution::Interface;

/// The contexts of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::inspect) struct Contexts {
    known: [Option<Known>; Contexts::MOST],
    next: u8,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// The pipe's handle; 0 where the connection itself is the pipe.
    pipe: u64,
    id: u16,
    interface: Interface,
}

impl Contexts {
    const MOST: usize = 12;

    /// A bind begins: the pipe's former contexts are void.
    pub fn rebind(&mut self, pipe: u64) {
        self.forget(|known| known.pipe == pipe);
    }

    /// A bind or an alter context names the interface of a context.
    pub fn name(&mut self, pipe: u64, id: u16, interface: Option<Interface>) {
        self.forget(|known| known.pipe == pipe && known.id == id);
        let Some(interface) = interface else { return };
        let place = self.known.iter().position(Option::is_none).unwrap_or_else(|| {
            self.next = (self.next + 1) % 12;
            usize::from(self.next)
        });
        if let Some(place) = self.known.get_mut(place) {
            *place = Some(Known { pipe, id, interface });
        }
    }

    /// What a request's context stands for.
    pub fn interface(&self, pipe: u64, id: u16) -> Option<Interface> {
        let known = self.known.iter().flatten().find(|known| known.pipe == pipe && known.id == id);
        known.map(|known| known.interface)
    }

    fn forget(&mut self, which: impl Fn(&Known) -> bool) {
        for place in &mut self.known {
            if place.as_ref().is_some_and(&which) {
                *place = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_belong_to_their_pipe_and_end_with_a_new_bind() {
        let mut contexts = Contexts::default();
        contexts.name(1, 0, Some(Interface::Services));
        contexts.name(2, 0, Some(Interface::Tasks));
        contexts.name(1, 1, None);
        assert_eq!(contexts.interface(1, 0), Some(Interface::Services));
        assert_eq!(contexts.interface(2, 0), Some(Interface::Tasks));
        assert_eq!((contexts.interface(3, 0), contexts.interface(1, 1)), (None, None));
        contexts.name(1, 0, None);
        assert_eq!(contexts.interface(1, 0), None);
        contexts.rebind(2);
        assert_eq!(contexts.interface(2, 0), None);
        for id in 0..100 {
            contexts.name(9, id, Some(Interface::At));
        }
        assert_eq!(contexts.interface(9, 99), Some(Interface::At));
    }
}
