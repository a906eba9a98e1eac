//! Where frames come from: a capture file, a packet ring, or pnet.
