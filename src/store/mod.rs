//! What the daemon keeps: the history of decisions in SQLite.
