//! [`Servers`]: the admin socket and the metrics address, opened with privileges and served without.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::api::orders::Orders;
use crate::api::{self, peer};
use crate::config::Config;
use crate::daemon::{Error, system};
use crate::metrics::{Metrics, exporter};
use crate::published::Published;

/// What the daemon serves on.
pub(super) struct Servers {
    socket: UnixListener,
    /// Where metrics are read; none if they are off.
    exporter: Option<TcpListener>,
    /// Who may use the admin socket besides root.
    group: Option<u32>,
}

impl Servers {
    /// Binds the admin socket and the metrics address.
    ///
    /// # Errors
    /// One of them cannot be bound.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let group = peer::group_id(&config.observe.group);
        if group.is_none() {
            tracing::warn!(group = config.observe.group, "no such group: only root may use the admin socket");
        }
        let socket = api::socket::bind(&config.observe.socket, group)?;
        let exporter = config.observe.metrics.map(exporter::bind).transpose()?;
        Ok(Servers { socket, exporter, group })
    }

    /// The group that may use the admin socket.
    pub fn group(&self) -> Option<u32> {
        self.group
    }

    /// Serves what is published, and hands orders over, until what this gives is dropped.
    ///
    /// # Errors
    /// A socket cannot be served on, or there is a mistake among the metrics.
    pub fn serve(self, published: &Arc<Published>, orders: Orders) -> Result<watch::Sender<bool>, Error> {
        let (serving, stop) = watch::channel(false);
        api::spawn(self.socket, published.clone(), orders, self.group, stop.clone())
            .map_err(system("serving the admin API"))?;
        if let Some(listener) = self.exporter {
            exporter::spawn(listener, published.clone(), Metrics::new(published)?, stop)
                .map_err(system("serving metrics"))?;
        }
        Ok(serving)
    }
}

/// Removes the admin socket at the end.
pub(super) fn remove_socket(path: &Path) {
    // A stale socket is replaced at the next start anyway.
    let _ = std::fs::remove_file(path);
}
