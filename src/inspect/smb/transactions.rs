//! The SMB1 transactions of one connection that are still waiting for their secondaries.
//!
//! Bounded to a few, the oldest given up: a server keeps few, too, and every exploit of MS17-010 needs one or two.
//! One that is complete or answered is open no more. An open one that is never finished ends when its connection does,
//! or when newer ones push it out.

use crate::wire::smb::smb1::Exchange;
use crate::wire::smb::transaction::{Family, Transaction};

/// A first request whose parameters or data are not all there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::inspect) struct Open {
    /// Which exchange.
    pub exchange: Exchange,
    /// Which kind began it.
    pub family: Family,
    /// How much data it announced.
    pub total_data: u32,
    parameters_left: u32,
    data_left: u32,
}

/// The open ones.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::inspect) struct Transactions {
    open: [Option<Open>; Transactions::MOST],
    next: u8,
}

impl Transactions {
    /// So many are kept. EternalRomance's groom opens a dozen before the one that counts.
    const MOST: usize = 16;

    /// Notes a first request, if more must follow.
    pub fn begin(&mut self, exchange: Exchange, request: &Transaction<'_>) {
        self.end(exchange);
        let parameters_left = request.total_parameters().saturating_sub(request.parameters());
        let data_left = request.total_data().saturating_sub(request.data());
        if parameters_left == 0 && data_left == 0 {
            return;
        }
        let fresh =
            Open { exchange, family: request.family(), total_data: request.total_data(), parameters_left, data_left };
        let free = self.open.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.next = (self.next + 1) % 16;
            usize::from(self.next)
        });
        if let Some(place) = self.open.get_mut(place) {
            *place = Some(fresh);
        }
    }

    /// The open one of an exchange.
    pub fn of(&self, exchange: Exchange) -> Option<Open> {
        self.open.iter().flatten().find(|open| open.exchange == exchange).copied()
    }

    /// Notes a secondary; the transaction ends with its last byte.
    pub fn proceed(&mut self, exchange: Exchange, secondary: &Transaction<'_>) {
        for place in &mut self.open {
            if let Some(open) = place.as_mut().filter(|open| open.exchange == exchange) {
                open.parameters_left = open.parameters_left.saturating_sub(secondary.parameters());
                open.data_left = open.data_left.saturating_sub(secondary.data());
                if open.parameters_left == 0 && open.data_left == 0 {
                    *place = None;
                }
            }
        }
    }

    /// The server answered: it is open no more.
    pub fn end(&mut self, exchange: Exchange) {
        for place in &mut self.open {
            if place.is_some_and(|open| open.exchange == exchange) {
                *place = None;
            }
        }
    }
}
