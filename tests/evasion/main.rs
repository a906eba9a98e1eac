//! Worms that are a little cleverer than the one everybody measures, and those who frame others or switch the gateway off.
//!
//! Each scenario runs the real daemon on a gateway of namespaces, attacks with frames of its own making
//! ([`host`], [`dress`], [`attack`]), and counts on the victims' side ([`tally`] reads their wire, [`visits`] what their
//! sockets accepted). The bounds are counts, not times: at most [`site::MOST`] victims a suspect, and nobody harmed who
//! did nothing. Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN); where it cannot run it says so.
//!
//! `FIREDOOR_EVASION_ROUNDS` asks for so many seeds of each attack instead of one, at every pace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "paces, counts and random bytes of addresses"
)]

mod answers;
mod attack;
mod breaker;
mod dress;
mod fragments;
mod framing;
mod gaps;
mod host;
mod overlap;
mod packet;
mod ports;
mod rotation;
mod rows;
mod silence;
mod site;
mod sockets;
mod sweeps;
mod tags;
mod tally;
mod tricks;
mod tunnels;
mod udp;
mod visits;
