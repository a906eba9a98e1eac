//! SMB2 messages, as far as they matter: negotiation, trees, and what is written to pipes.

use crate::inspect::conversation::{Indicator, Negotiation, ReadState, Reading};
use crate::track::follower::{HEAD, Side, Step};
use crate::wire::dcerpc;
use crate::wire::smb::smb2::{
    self, Carried, Header, Ioctl, NegotiateContext, NegotiateResponse, TreeConnect, Write, command,
};
use crate::wire::smb::text::{Path, Share};

/// How much of a command identifies it; 0 where nothing does.
fn wanted(side: Side, command: u16) -> usize {
    match (side, command) {
        (Side::Server, command::NEGOTIATE) => NegotiateResponse::LENGTH,
        (_, command::TREE_CONNECT) => TreeConnect::LENGTH,
        (Side::Client, command::WRITE) => Write::LENGTH,
        (Side::Client, command::IOCTL) => Ioctl::LENGTH,
        _ => 0,
    }
}

impl Reading<'_> {
    /// A command from its header: once with its beginning, and again with as much of its body as matters.
    pub(in crate::inspect) fn smb2(&mut self, side: Side, bytes: &[u8]) -> Step {
        let Some(header) = Header::new_checked(bytes) else { return self.end(side) };
        self.cursor(side).next = header.next().unwrap_or_default();
        if header.is_response() != (side == Side::Server) {
            return self.finish(side);
        }
        let wanted = wanted(side, header.command());
        if let Some(step) = self.more(side, bytes.len(), wanted, ReadState::Smb2) {
            return step;
        }
        if bytes.len() < wanted {
            return self.finish(side);
        }
        match (side, header.command()) {
            (Side::Server, command::NEGOTIATE) => self.smb2_negotiate(NegotiateResponse(header)),
            (Side::Client, command::TREE_CONNECT) => {
                let path = TreeConnect(header).path();
                // The share is the path's end, so of a long path the end is read.
                let at = path.start.max(path.end.saturating_sub(HEAD));
                let message = header.message();
                self.smb2_part(side, at, path.end - at, ReadState::Path { message })
            }
            (Side::Server, command::TREE_CONNECT) => {
                if let Some(tree) = header.tree().filter(|_| header.status() == 0) {
                    let pipes = TreeConnect(header).is_pipes();
                    self.conversation.trees.answer(header.message(), tree, Some(pipes));
                }
                self.finish(side)
            }
            (Side::Client, command::WRITE) => self.smb2_pipe(&header, Write(header).carried()),
            (Side::Client, command::IOCTL) if Ioctl(header).code() == smb2::PIPE_TRANSCEIVE => {
                self.smb2_pipe(&header, Ioctl(header).carried())
            }
            _ => self.finish(side),
        }
    }

    fn smb2_part(&mut self, side: Side, at: usize, length: usize, state: ReadState) -> Step {
        if length > 0 && at >= smb2::HEADER { self.go(side, at, length, state) } else { self.finish(side) }
    }

    /// On to the DCE/RPC that a message carries to a pipe.
    fn smb2_pipe(&mut self, header: &Header<'_>, carried: Carried) -> Step {
        let side = Side::Client;
        let fits = carried.at as usize >= smb2::HEADER && carried.length as usize >= dcerpc::Header::REQUEST;
        // Related commands of a chain repeat the tree of the first, or leave it out (MS-SMB2 3.2.4.1.4).
        let tree = header.tree().filter(|tree| *tree != u32::MAX);
        if fits && self.conversation.trees.may_hold_pipes(tree) {
            let pipe = carried.handle.max(1);
            self.go(side, carried.at as usize, dcerpc::Header::BIND, ReadState::Pdu { pipe })
        } else {
            self.finish(side)
        }
    }

    /// The path of a tree connect.
    pub(in crate::inspect) fn smb2_path(&mut self, side: Side, bytes: &[u8], message: u64) -> Step {
        let share = Path::new(bytes, true).share();
        self.conversation.trees.ask(message, share);
        if share == Share::Admin {
            self.indicate(Indicator::AdminShare);
        }
        self.finish(side)
    }

    fn smb2_negotiate(&mut self, answer: NegotiateResponse<'_>) -> Step {
        let side = Side::Server;
        let Some(dialect) = answer.dialect().filter(|_| answer.0.status() == 0) else { return self.finish(side) };
        self.conversation.negotiated = true;
        let signing = answer.signing();
        let agreed = Negotiation { dialect, signing, encryption: answer.encryption(), compression: false };
        self.conversation.agreed = Some(agreed);
        match answer.contexts() {
            Some((offset, contexts)) if offset < self.cursor(side).left => {
                self.go(side, offset as usize, NegotiateContext::LENGTH, ReadState::NegotiateContext { contexts })
            }
            _ => self.smb2_agreed(side),
        }
    }

    /// One negotiate context of a 3.1.1 answer.
    pub(in crate::inspect) fn smb2_negotiated(&mut self, side: Side, bytes: &[u8], contexts: u16) -> Step {
        let Some(context) = NegotiateContext::new_checked(bytes) else { return self.smb2_agreed(side) };
        if let Some(agreed) = &mut self.conversation.agreed {
            match context.kind() {
                NegotiateContext::ENCRYPTION => agreed.encryption = context.algorithms() > 0,
                NegotiateContext::COMPRESSION => agreed.compression = context.algorithms() > 0,
                _ => {}
            }
        }
        // Five contexts are specified; a few more may come to be.
        let left = contexts.min(16) - 1;
        let further = self.cursor(side).left > context.stride();
        if left > 0 && further {
            self.go(
                side,
                context.stride() as usize,
                NegotiateContext::LENGTH,
                ReadState::NegotiateContext { contexts: left },
            )
        } else {
            self.smb2_agreed(side)
        }
    }

    fn smb2_agreed(&mut self, side: Side) -> Step {
        if let Some(agreed) = self.conversation.agreed.take() {
            self.indicate(Indicator::Negotiated(agreed));
        }
        self.finish(side)
    }
}
