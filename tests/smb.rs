//! What the inspection of SMB and DCE/RPC finds, in real captures and in conversations of our own making.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "smb/captures.rs"]
mod captures;
#[path = "smb/execution.rs"]
mod execution;
#[path = "smb/exploits.rs"]
mod exploits;
#[path = "smb/message.rs"]
mod message;
#[path = "smb/ordinary.rs"]
mod ordinary;
#[path = "smb/reading.rs"]
mod reading;
#[path = "smb/segmentation.rs"]
mod segmentation;
#[path = "smb/talk.rs"]
mod talk;
#[path = "smb/weighing.rs"]
mod weighing;
