//! What the daemon gives up once everything that needs privileges is open.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::sys::privileges::{self, Confined};

/// A user as `/etc/passwd` has it.
struct User {
    id: u32,
    group: u32,
}

fn user(name: &str) -> Option<User> {
    // Read by hand: a name-service module would bring code and files that a confined daemon does without.
    let table = fs::read_to_string("/etc/passwd").ok()?;
    let line = table.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(User { id: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

/// Gives up what is not needed any more; what cannot be given up is logged and lived with, for a gateway that watches
/// with a privilege too many is better than one that does not watch.
pub(super) fn confine(config: &Config, path: &Path, api_group: Option<u32>) {
    let wanted = &config.privileges;
    if privileges::is_root() {
        match user(&wanted.user) {
            Some(user) => {
                own(config, &user);
                let groups: Vec<u32> = api_group.into_iter().collect();
                gave_up("the user", privileges::become_user(user.id, user.group, &groups));
            }
            None => {
                tracing::warn!(user = wanted.user, "no such user: running on as root, with network privileges only");
            }
        }
    }
    gave_up("capabilities", privileges::keep_network_capabilities());
    gave_up("new privileges", privileges::no_new_privileges());
    if wanted.landlock {
        match privileges::confine_files(&readable(path), &writable(config)) {
            Ok(Confined::Fully) => {}
            Ok(Confined::Partly) => tracing::info!("landlock: this kernel confines file access only in part"),
            Ok(Confined::Not) => tracing::warn!("landlock: this kernel cannot confine file access"),
            Err(error) => tracing::warn!("file access is not confined: {error}"),
        }
    }
    if wanted.seccomp {
        gave_up("system calls", privileges::confine_system_calls());
    }
}

fn gave_up(what: &str, outcome: Result<(), privileges::Error>) {
    if let Err(error) = outcome {
        tracing::warn!("privileges not given up ({what}): {error}");
    }
}

fn folder(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
}

/// The folders it writes to become the user's, if they are its own (made by systemd or by the package).
fn own(config: &Config, user: &User) {
    for folder in writable(config) {
        if folder.ends_with("firedoor")
            && let Err(error) = chown_below(&folder, user)
        {
            tracing::warn!("{} stays root's: {error}", folder.display());
        }
    }
}

fn chown_below(folder: &Path, user: &User) -> std::io::Result<()> {
    use std::os::unix::fs::lchown;
    lchown(folder, Some(user.id), Some(user.group))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if fs::symlink_metadata(&path)?.is_file() {
            lchown(&path, Some(user.id), Some(user.group))?;
        }
    }
    Ok(())
}

fn readable(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/sys", "/proc", "/dev/urandom", "/dev/null"]
            .map(PathBuf::from)
            .to_vec();
    paths.extend(fs::canonicalize(path).ok().and_then(|path| folder(&path)));
    paths
}

fn writable(config: &Config) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/dev/null")];
    paths.extend(folder(&config.observe.socket));
    paths.extend(config.observe.history.as_deref().and_then(folder));
    paths
}
