//! Threads, channels, reload, watchdog, shutdown.
