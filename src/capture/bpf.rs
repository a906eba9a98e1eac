//! What the two kernel programs are made of: an assembler for classic BPF, and the walk over a frame's headers.

pub(super) mod assembler;
#[cfg(test)]
pub(super) mod interpreter;
pub(super) mod walk;
