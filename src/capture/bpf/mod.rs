//! What the two kernel programs are made of: an assembler for classic BPF, and the walk over a frame's headers.

pub(super) mod assembler;
pub(super) mod cells;
pub(super) mod payload;
mod tunnels;
pub(super) mod walk;

#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod tests;
