//! What the daemon shows: snapshot, metrics, admin API.
