//! The client's side of the admin API: one blocking HTTP request over the unix socket, and plain words when it fails.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Failure, Global};
use crate::api::{ErrorView, peer};

/// Longest answer: the list of every host on the largest site is a few tens of megabytes.
const ANSWER_BYTES: u64 = 256 << 20;
/// How long the daemon may take over an answer; an order may wait 20 s for the control task.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to the running daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// To the daemon whose socket the command line names.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Client { socket: global.socket().to_owned() }
    }

    /// To the daemon that listens on this socket.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Client { socket: socket.to_owned() }
    }

    /// Asks.
    ///
    /// # Errors
    /// The daemon is not there, may not be asked, or says no.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.request("GET", path, b"")
    }

    /// Orders.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body =
            serde_json::to_vec(body).map_err(|error| Failure::failed("cannot write the order").because(error))?;
        self.request("POST", path, &body)
    }

    fn request<T: DeserializeOwned>(&self, method: &str, path: &str, body: &[u8]) -> Result<T, Failure> {
        let answer = self.exchange(method, path, body).map_err(|error| unreachable(&self.socket, error))?;
        let (status, body) = split(&answer).ok_or_else(|| strange(&self.socket))?;
        if status == 200 {
            return serde_json::from_slice(body).map_err(|error| strange(&self.socket).because(error));
        }
        match serde_json::from_slice::<ErrorView>(body) {
            Ok(said) => Err(Failure::failed(said.error).help(said.help)),
            Err(_) => Err(strange(&self.socket)),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: firedoor\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        // A daemon that refuses early closes before it has read all: its answer is still there to be read.
        let sent = stream.write_all(&request);
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        if answer.is_empty() {
            sent?;
        }
        Ok(answer)
    }
}

/// Writes a query: `?a=b&c=d`, nothing for none. Values hold no character that would need an escape.
#[must_use]
pub fn query(parts: &[(&str, Option<String>)]) -> String {
    let mut text = String::new();
    for (key, value) in parts {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(key);
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

/// Status and body of an HTTP/1 answer that ends with the connection.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.get(end + 4..)?))
}

fn strange(socket: &Path) -> Failure {
    Failure::failed(format!("what listens on {} does not answer as this firedoor does", socket.display()))
        .help("after an upgrade, restart the daemon: `systemctl restart firedoor`; blocks stay in the kernel meanwhile")
}

/// Why the daemon cannot be asked, in words.
fn unreachable(socket: &Path, error: io::Error) -> Failure {
    let shown = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::failed(format!("firedoor is not running: there is no socket {shown}"))
            .help(
                "start it with `systemctl start firedoor`; if observe.socket names another path, say it with --socket",
            ),
        io::ErrorKind::ConnectionRefused => {
            Failure::failed(format!("firedoor is not running: nobody listens on {shown}")).help(
                "`systemctl status firedoor` and `journalctl -u firedoor` say why; what it had put into the kernel \
                 stays in force",
            )
        }
        io::ErrorKind::PermissionDenied => {
            let group = std::fs::metadata(socket).ok().and_then(|found| peer::group_name(found.gid()));
            let group = group.unwrap_or_else(|| "firedoor".to_owned());
            Failure::failed(format!("this user may not open {shown}"))
                .help(format!("be root, or a member of its group: `usermod -aG {group} NAME`, then log in anew"))
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::failed(format!("firedoor did not answer within {} s", PATIENCE.as_secs()))
                .help("an order may still be carried out: look at `firedoor status` before trying again")
        }
        _ => Failure::failed(format!("cannot talk to firedoor over {shown}")).because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split_into_status_and_body() {
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(split(answer), Some((404, &b"{}"[..])));
        assert_eq!(split(b"HTTP/1.1 200 OK\r\n\r\n"), Some((200, &b""[..])));
        for broken in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"\xff\r\n\r\n"] {
            assert_eq!(split(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_query_holds_what_is_given() {
        assert_eq!(query(&[("a", None), ("b", None)]), "");
        assert_eq!(query(&[("a", None), ("b", Some("1".to_owned())), ("c", Some("x".to_owned()))]), "?b=1&c=x");
    }
}
