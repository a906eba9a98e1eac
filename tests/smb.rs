//! What the inspection of SMB and DCE/RPC finds, in real captures and in conversations of our own making.

#[path = "smb/captures.rs"]
mod captures;
#[path = "smb/reading.rs"]
mod reading;
