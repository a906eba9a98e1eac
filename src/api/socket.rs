//! The unix socket the API listens on: taken safely, opened to the right people.
//!
//! The socket is made under a name of its own, given its group and mode 0660, and only then renamed to its path, so
//! that nobody ever sees it with the wrong mode, and a stale one is replaced in one step. A socket on which somebody
//! still listens is never replaced; a file that is no socket is never touched.
//!
//! With mode 0660 only root and the group's members can open it. To let an account read without letting it act, give
//! it an access-control entry (`setfacl -m u:NAME:rw SOCKET`, or a default one on the directory, which new sockets
//! inherit): it can open the socket then, and being no member of the group it cannot act.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Root and the group may read and write; nobody else.
const MODE: u32 = 0o660;

/// The socket could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon serves it.
    #[error("another firedoor already listens on {0}: stop it first, or set observe.socket to another path")]
    Taken(PathBuf),
    /// There is something else at that path.
    #[error("{0} exists and is no socket: move it away, or set observe.socket to another path")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot make the admin socket {path}: {source}; its directory must exist and be writable for this user")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the socket at `path`, opened to `group` if one is given, else to this user alone.
///
/// # Errors
/// [`BindError`], which says what to do.
pub fn bind(path: &Path, group: Option<u32>) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(BindError::Taken(path.to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let make = || {
        let listener = UnixListener::bind(&fresh)?;
        listener.set_nonblocking(true)?;
        if let Some(group) = group {
            chown(&fresh, None, Some(group))?;
        }
        fs::set_permissions(&fresh, Permissions::from_mode(MODE))?;
        fs::rename(&fresh, path)?;
        Ok(listener)
    };
    make().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let first = bind(&path, None).unwrap();
        assert!(matches!(bind(&path, None), Err(BindError::Taken(_))));
        drop(first);
        let second = bind(&path, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
    }

    #[test]
    fn it_is_opened_to_the_group_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        // A group that any user may give a file to: its own.
        let own = fs::metadata(dir.path()).unwrap().gid();
        let _listener = bind(&path, Some(own)).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o777, found.gid()), (0o660, own));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, None), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let nowhere = dir.path().join("no/such/dir/socket");
        assert!(matches!(bind(&nowhere, None), Err(BindError::Io { .. })));
    }
}
