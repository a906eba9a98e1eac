//! SMB1 messages, as far as they matter: negotiation, trees, handles, transactions, writes to pipes.

use crate::evidence::{Detail, Signal};
use crate::inspect::conversation::{Indicator, Negotiation, ReadState, Reading};
use crate::inspect::report::Condition;
use crate::inspect::smb::{doublepulsar, eternalblue, eternalchampion, eternalromance, ms17010_probe, wannacry_tree};
use crate::track::follower::{HEAD, Side, Step};
use crate::wire::dcerpc;
use crate::wire::smb::dialect::{Dialect, Offers, Signing};
use crate::wire::smb::smb1::{
    self, Block, Exchange, Header, NegotiateResponse, TreeConnect, WriteAndX, command, opened_fid, status,
};
use crate::wire::smb::text::{Path, Share};
use crate::wire::smb::transaction::{Family, Transaction, pipe};

/// `WRITE_ANDX` write modes: raw, and the start of a message, which its length precedes in two bytes.
const RAW_MESSAGE: u16 = 0x0004 | 0x0008;

/// Commands that may have another one behind them (MS-CIFS 2.2.3.4).
const CHAINING: [u8; 8] = [
    0x24,
    command::OPEN_ANDX,
    0x2e,
    command::WRITE_ANDX,
    command::SESSION_SETUP_ANDX,
    0x74,
    command::TREE_CONNECT_ANDX,
    command::NT_CREATE_ANDX,
];

/// How much of a command's block identifies it; 0 where nothing does.
fn wanted(side: Side, command: u8) -> usize {
    match (side, command) {
        (Side::Client, command::NEGOTIATE | command::TREE_CONNECT_ANDX) => HEAD - smb1::HEADER,
        (Side::Client, command::WRITE_ANDX) => WriteAndX::LENGTH,
        (Side::Client, _) if Family::of(command).is_some() => Transaction::LENGTH,
        (Side::Server, command::NEGOTIATE) => NegotiateResponse::LENGTH,
        (Side::Server, command::OPEN | command::OPEN_ANDX | command::NT_CREATE_ANDX) => 8,
        _ if CHAINING.contains(&command) => 5,
        _ => 0,
    }
}

impl Reading<'_> {
    /// A message from its start: once with its beginning, and again with as much of the first block as matters.
    pub(in crate::inspect) fn smb1(&mut self, side: Side, bytes: &[u8]) -> Step {
        let Some(header) = Header::new_checked(bytes) else { return self.end(side) };
        if header.is_reply() != (side == Side::Server) {
            return self.end(side);
        }
        let wanted = smb1::HEADER + wanted(side, header.command());
        if let Some(step) = self.more(side, bytes.len(), wanted, ReadState::Smb1) {
            return step;
        }
        if side == Side::Server {
            self.smb1_answer(&header);
        }
        self.smb1_block(side, header.block(), header.command(), header.exchange(), header.is_unicode())
    }

    /// A further block of a chain.
    pub(in crate::inspect) fn smb1_chain(
        &mut self,
        side: Side,
        bytes: &[u8],
        command: u8,
        at: u16,
        exchange: Exchange,
        unicode: bool,
    ) -> Step {
        match Block::new_checked(bytes, usize::from(at)) {
            Some(block) => self.smb1_block(side, block, command, exchange, unicode),
            None => self.end(side),
        }
    }

    fn smb1_block(&mut self, side: Side, block: Block<'_>, command: u8, exchange: Exchange, unicode: bool) -> Step {
        let step = match side {
            Side::Client => self.smb1_request(block, command, exchange, unicode),
            Side::Server => {
                if opened_fid(command, block) == Some(0) {
                    self.conversation.zero_given_out = true;
                }
                None
            }
        };
        let chained = block.next().filter(|_| CHAINING.contains(&command));
        match (step, chained) {
            (Some(step), _) => step,
            (None, Some((command, offset))) => {
                // From the first word count of this window, the header's start lies `at` bytes back.
                let here = if block.at() == smb1::HEADER { 0 } else { block.at() };
                let skip = usize::from(offset).saturating_sub(here);
                let state = ReadState::Chain { command, at: offset, exchange, unicode };
                self.go(side, skip, wanted(side, command).max(5), state)
            }
            (None, None) => self.end(side),
        }
    }

    /// A client's command; a step where the rest of the message is to be read in another way.
    fn smb1_request(&mut self, block: Block<'_>, command: u8, exchange: Exchange, unicode: bool) -> Option<Step> {
        let renamed = self.conversation.rename.take();
        let continues = Family::of(command).is_some_and(|(_, secondary)| secondary);
        if !continues && command != command::WRITE_ANDX && command != command::NT_CANCEL {
            // The client itself regards the exchange as done: some clients use one multiplex id for everything.
            self.conversation.transactions.end(exchange);
        }
        match command {
            command::NEGOTIATE => {
                let offers = Offers::new(block.bytes());
                self.conversation.offers = offers;
                if offers.only_smb1() {
                    self.indicate(Indicator::Smb1(Detail::Fields {
                        what: "negotiate 0x72 offers {} dialects, all of them SMB1",
                        values: [offers.count().into(), 0, 0, 0],
                        source: "MS-CIFS 2.2.4.52",
                    }));
                }
                None
            }
            command::TREE_CONNECT_ANDX => {
                let path = Path::new(TreeConnect(block).path(unicode), unicode);
                if let Some(detail) = wannacry_tree::recorded(&path, self.server) {
                    self.indicate(Indicator::Exploit(Signal::WannaCryTree, detail));
                }
                self.conversation.trees.ask(exchange.multiplex.into(), path.share());
                if path.share() == Share::Admin {
                    self.indicate(Indicator::AdminShare);
                }
                None
            }
            command::WRITE_ANDX => {
                let write = WriteAndX(block);
                let inside = eternalromance::inside(&self.conversation.transactions, exchange, write);
                if let Some(detail) = inside {
                    self.indicate(Indicator::Exploit(Signal::EternalRomance, detail));
                }
                let ahead = if write.mode() & RAW_MESSAGE == RAW_MESSAGE { 2 } else { 0 };
                let data = u32::from(write.data_offset());
                (write.length() > 0)
                    .then(|| self.smb1_pipe(block, exchange, write.fid(), data.saturating_add(ahead)))
                    .flatten()
            }
            _ => {
                let request = Transaction::new_checked(command, block)?;
                self.smb1_transaction(&request, exchange, renamed);
                let transacts = request.family() == Family::Transaction && request.setup(0) == Some(pipe::TRANSACT);
                let fid = request.setup(1).filter(|_| transacts && request.data() > 0)?;
                self.smb1_pipe(block, exchange, fid, request.data_offset())
            }
        }
    }

    fn smb1_transaction(&mut self, request: &Transaction<'_>, exchange: Exchange, renamed: Option<Exchange>) {
        let conversation = &mut *self.conversation;
        let mut signs = [None; 2];
        if request.is_secondary() {
            let open = conversation.transactions.of(exchange);
            let confused = open.and_then(|open| eternalblue::confused(&open, request));
            let follows = renamed.and_then(|rename| eternalchampion::follows(rename, exchange, request));
            signs = [
                confused.map(|detail| (Signal::EternalBlue, detail)),
                follows.map(|detail| (Signal::EternalChampion, detail)),
            ];
            conversation.transactions.proceed(exchange, request);
        } else {
            let probe = ms17010_probe::probe(request, conversation.zero_given_out);
            let knock = doublepulsar::knock(request, exchange.multiplex);
            if probe.is_some() {
                conversation.probed = Some(exchange.multiplex);
            }
            if knock.is_some() {
                conversation.knocked = Some(exchange.multiplex);
            }
            signs[0] = probe.map(|detail| (Signal::Ms17010Probe, detail));
            signs[1] = knock.map(|detail| (Signal::DoublePulsar, detail));
            conversation.transactions.begin(exchange, request);
            conversation.rename = eternalchampion::is_rename(request).then_some(exchange);
        }
        for (signal, detail) in signs.into_iter().flatten() {
            self.indicate(Indicator::Exploit(signal, detail));
        }
    }

    /// On to the DCE/RPC that a message carries to a pipe, `offset` bytes from the SMB header.
    fn smb1_pipe(&mut self, block: Block<'_>, exchange: Exchange, fid: u16, offset: u32) -> Option<Step> {
        let here = if block.at() == smb1::HEADER { 0 } else { block.at() };
        let skip = (offset as usize).checked_sub(here)?;
        let pipes = self.conversation.trees.may_hold_pipes(Some(exchange.tree.into()));
        // Handles of SMB1 are 16 bits; the high bit keeps handle 0 apart from TCP's lack of one.
        let pipe = 1 << 16 | u64::from(fid);
        (pipes && skip > 0).then(|| self.go(Side::Client, skip, dcerpc::Header::BIND, ReadState::Pdu { pipe }))
    }

    /// A server's message as a whole.
    fn smb1_answer(&mut self, header: &Header<'_>) {
        let exchange = header.exchange();
        match header.command() {
            command::NEGOTIATE => self.smb1_negotiated(header),
            command::TREE_CONNECT_ANDX | command::SESSION_SETUP_ANDX if header.status() == 0 => {
                self.conversation.trees.answer(exchange.multiplex.into(), exchange.tree.into(), None);
            }
            other => {
                if !self.conversation.negotiated {
                    // A connection that was running before we watched.
                    self.conversation.negotiated = true;
                    self.indicate(Indicator::Negotiated(Negotiation {
                        dialect: Dialect::OtherSmb1,
                        signing: Signing::Off,
                        encryption: false,
                        compression: false,
                    }));
                }
                let Some((family, _)) = Family::of(other) else { return };
                self.smb1_condition(family, header);
                // An answer without words or error is the interim one, after which the secondaries come.
                if header.word_count() > 0 || header.status() != 0 {
                    self.conversation.transactions.end(exchange);
                }
            }
        }
    }

    /// What an answer to a probe or a knock gives away.
    fn smb1_condition(&mut self, family: Family, header: &Header<'_>) {
        let (multiplex, status) = (header.exchange().multiplex, header.status());
        if family == Family::Transaction
            && self.conversation.probed == Some(multiplex)
            && status == status::INSUFF_SERVER_RESOURCES
        {
            self.conversation.probed = None;
            self.indicate(Indicator::Condition(Condition::Unpatched));
        }
        if let Some(asked) = self.conversation.knocked.filter(|_| family == Family::Transaction2)
            && doublepulsar::is_implants(asked, multiplex, status)
        {
            self.conversation.knocked = None;
            self.indicate(Indicator::Condition(Condition::Implanted));
        }
    }

    fn smb1_negotiated(&mut self, header: &Header<'_>) {
        let answer = NegotiateResponse(header.block());
        let picked = self.conversation.offers.picked(answer.dialect_index());
        let Some(dialect) = picked.filter(|_| header.status() == 0 && header.word_count() > 0) else { return };
        self.conversation.negotiated = true;
        let signing = answer.signing();
        self.indicate(Indicator::Negotiated(Negotiation { dialect, signing, encryption: false, compression: false }));
        // A request that offered SMB1 alone was reported already.
        if !self.conversation.offers.only_smb1() {
            self.indicate(Indicator::Smb1(Detail::Fields {
                what: "negotiate 0x72 answered with SMB1 dialect number {}",
                values: [answer.dialect_index().into(), 0, 0, 0],
                source: "MS-CIFS 2.2.4.52",
            }));
        }
    }
}
