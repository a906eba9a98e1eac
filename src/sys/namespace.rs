//! Network namespaces without a name: throwaway machines for the lab and the tests.
//!
//! A [`Namespace`] is held by a file descriptor alone. When the last descriptor and the last process in it are gone,
//! the kernel takes it down with its interfaces, routes and nftables, so that even a SIGKILL leaves nothing behind.
//! Closures run inside on a thread of their own ([`Namespace::run`], [`Namespace::spawn`]); child processes start
//! inside ([`Namespace::command`]).
//!
//! Making one needs CAP_SYS_ADMIN. A process without it can call [`enclose`] first, while it still has one thread:
//! it continues as a child in a user, PID, mount and network namespace of its own, where it is root over what it makes.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::thread;

use thiserror::Error;

use crate::sys::links::{self, Links};

/// Set in the environment of the child that [`enclose`] starts.
const ENCLOSED: &str = "FIREDOOR_ENCLOSED";

/// Why a namespace could not be made or used.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel does not let this process make one.
    #[error(
        "cannot make a namespace: {0}; run as root, or allow unprivileged user namespaces \
         (sysctl user.max_user_namespaces above 0; on Debian kernel.unprivileged_userns_clone=1; \
         on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0)"
    )]
    Create(#[source] io::Error),
    /// A thread or process could not enter one.
    #[error("cannot enter namespace {name}: {source}")]
    Enter {
        /// Which.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A kernel setting could not be written inside one.
    #[error("cannot set {key} in namespace {name}: {source}")]
    Setting {
        /// Which namespace.
        name: String,
        /// The setting, as a path below /proc/sys.
        key: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// An interface, address or route could not be made.
    #[error("in namespace {name}: {source}")]
    Link {
        /// Which namespace.
        name: String,
        /// What failed.
        source: links::Error,
    },
}

/// A network namespace that lives as long as this value, or a process inside it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    descriptor: Arc<OwnedFd>,
    links: Links,
}

impl Namespace {
    /// Makes one, with its loopback up and IPv6 duplicate address detection off. The name is for messages only.
    pub fn new(name: &str) -> Result<Self, Error> {
        let made = thread::Builder::new()
            .name(format!("make-{name}"))
            .spawn(|| -> io::Result<OwnedFd> {
                unshare(libc::CLONE_NEWNET)?;
                Ok(File::open("/proc/thread-self/ns/net")?.into())
            })
            .map_err(Error::Create)?;
        let descriptor = match made.join() {
            Ok(made) => made.map_err(Error::Create)?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let links =
            within(name, &descriptor, Links::open)?.map_err(|source| Error::Link { name: name.to_owned(), source })?;
        let namespace = Namespace { name: name.to_owned(), descriptor: Arc::new(descriptor), links };
        namespace.link(|links| links.up("lo"))?;
        // Addresses shall work at once; nobody else is on these wires. A kernel without IPv6 has no such setting.
        if Path::new("/proc/sys/net/ipv6").exists() {
            namespace.set("net/ipv6/conf/default/accept_dad", "0")?;
            namespace.set("net/ipv6/conf/default/accept_ra", "0")?;
        }
        Ok(namespace)
    }

    /// Its name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` inside, on a thread of its own, and waits for it. Sockets opened there stay inside for good.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        within(&self.name, &self.descriptor, work)
    }

    /// Starts `work` inside, on a thread of its own; the thread's result says whether it got inside.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<thread::JoinHandle<Result<T, Error>>, Error> {
        let name = self.name.clone();
        let failed = move |source| Error::Enter { name: name.clone(), source };
        let descriptor = Arc::clone(&self.descriptor);
        let spawn_failed = failed.clone();
        thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || enter(descriptor.as_fd()).map_err(failed).map(|()| work()))
            .map_err(spawn_failed)
    }

    /// A command that will run inside. The child is killed when the *thread* that started it ends, so start it from
    /// one that outlives it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let descriptor = Arc::clone(&self.descriptor);
        // SAFETY: between fork and exec only setns and prctl are called, both async-signal-safe system calls without
        // allocation; the closure owns the descriptor, so it is open.
        unsafe {
            command.pre_exec(move || {
                if libc::setns(descriptor.as_raw_fd(), libc::CLONE_NEWNET) != 0 {
                    return Err(io::Error::last_os_error());
                }
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command
    }

    /// Joins this namespace's `name` to the other's `peer_name` by a veth pair; both ends are down.
    pub fn veth(&self, name: &str, peer: &Namespace, peer_name: &str) -> Result<(), Error> {
        self.link(|links| links.veth(name, peer.descriptor.as_fd(), peer_name))
    }

    /// Makes, changes or asks interfaces, addresses and routes inside.
    pub fn link<T>(&self, work: impl FnOnce(&Links) -> Result<T, links::Error>) -> Result<T, Error> {
        work(&self.links).map_err(|source| Error::Link { name: self.name.clone(), source })
    }

    /// Writes a kernel setting inside; `key` is a path below /proc/sys, of `net/` only.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        self.run(|| fs::write(Path::new("/proc/sys").join(key), value))?.map_err(|source| Error::Setting {
            name: self.name.clone(),
            key: key.to_owned(),
            source,
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Asks a child to end (SIGTERM).
pub fn terminate(child: &Child) -> io::Result<()> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: kill takes no pointers; the child is not yet waited for, so the number is still its own.
    if unsafe { libc::kill(pid, libc::SIGTERM) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process may make network namespaces as it is, without [`enclose`].
pub fn permitted() -> Result<(), Error> {
    Namespace::new("probe").map(drop)
}

/// Whether this process is the child that [`enclose`] started.
#[must_use]
pub fn enclosed() -> bool {
    std::env::var_os(ENCLOSED).is_some()
}

/// Starts this very command again in namespaces of its own (PID, mount and network; also user, unless root) and waits
/// for it. Call it before any thread is started. The child is process 1 of its PID namespace: when it ends, however
/// it ends, everything it started ends too; and it is killed when this process dies.
///
/// In the child, which sees [`enclosed`], /run is an empty tmpfs of its own.
pub fn enclose() -> Result<ExitCode, Error> {
    // SAFETY: geteuid and getegid take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let mut flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET;
    if uid != 0 {
        flags |= libc::CLONE_NEWUSER;
    }
    unshare(flags).map_err(Error::Create)?;
    if uid != 0 {
        // Without CAP_SETGID outside, the kernel wants setgroups refused before a group map (user_namespaces(7)).
        fs::write("/proc/self/setgroups", "deny").map_err(Error::Create)?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(Error::Create)?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(Error::Create)?;
    }
    isolate_mounts().map_err(Error::Create)?;
    let program = std::env::current_exe().map_err(Error::Create)?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(ENCLOSED, "1");
    // SAFETY: prctl and mount are system calls without allocation, and their strings are static.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // Best effort: a container may forbid it, and then only process numbers look odd.
            libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), 0, std::ptr::null());
            Ok(())
        });
    }
    ignore_interrupts();
    let status = command.status().map_err(Error::Create)?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// A Ctrl-C reaches the whole foreground group; the child answers it by cleaning up, and this process waits for that.
fn ignore_interrupts() {
    // SAFETY: setting a signal's disposition to "ignore" installs no handler and touches no memory. The child's
    // disposition is inherited, and it installs handlers of its own.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
    }
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare takes no pointers; it changes only this thread's (or process') namespaces.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn enter(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns takes no pointers, and the descriptor is open for the call.
    if unsafe { libc::setns(descriptor.as_raw_fd(), libc::CLONE_NEWNET) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn within<T: Send>(name: &str, descriptor: &OwnedFd, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let failed = |source| Error::Enter { name: name.to_owned(), source };
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, || enter(descriptor.as_fd()).map(|()| work()))
            .map_err(failed)?;
        match handle.join() {
            Ok(outcome) => outcome.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Cuts mount events off from the rest of the machine and puts a tmpfs over /run.
fn isolate_mounts() -> io::Result<()> {
    let checked = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: all strings are static and NUL-terminated; a null source, type or data is allowed where these flags
    // make mount(2) ignore it.
    unsafe {
        checked(libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        ))?;
        checked(libc::mount(
            c"tmpfs".as_ptr(),
            c"/run".as_ptr(),
            c"tmpfs".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV,
            c"mode=755".as_ptr().cast(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says loudly why a test did not run.
    fn able() -> bool {
        permitted().inspect_err(|error| eprintln!("SKIPPED, namespaces cannot be made here: {error}")).is_ok()
    }

    fn interfaces() -> Vec<String> {
        let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        text.lines().skip(2).filter_map(|line| line.split(':').next()).map(|name| name.trim().to_owned()).collect()
    }

    #[test]
    fn a_closure_runs_inside_and_its_caller_stays_outside() {
        if !able() {
            return;
        }
        let before = interfaces();
        let namespace = Namespace::new("inside").unwrap();
        assert_eq!(namespace.run(interfaces).unwrap(), ["lo"]);
        assert_eq!(namespace.spawn(interfaces).unwrap().join().unwrap().unwrap(), ["lo"]);
        assert_eq!(interfaces(), before);
    }

    #[test]
    fn a_child_process_runs_inside() {
        if !able() {
            return;
        }
        let namespace = Namespace::new("child").unwrap();
        let output = namespace.command("cat").arg("/proc/self/net/dev").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 3, "two heading lines and lo: {text}");
    }

    #[test]
    fn two_machines_on_one_cable_reach_each_other() {
        if !able() {
            return;
        }
        let [left, right] = ["left", "right"].map(|name| Namespace::new(name).unwrap());
        left.veth("eth0", &right, "eth0").unwrap();
        for (namespace, address) in [(&left, "10.66.0.1/24"), (&right, "10.66.0.2/24")] {
            namespace.link(|links| links.address("eth0", address.parse().unwrap())).unwrap();
            namespace.link(|links| links.address("eth0", format!("fd66::{}", &address[8..]).parse().unwrap())).unwrap();
            namespace.link(|links| links.up("eth0")).unwrap();
        }
        for address in ["10.66.0.2:445", "[fd66::2]:445"] {
            let listener = right.run(|| std::net::TcpListener::bind(address).unwrap()).unwrap();
            left.run(|| std::net::TcpStream::connect(address).unwrap()).unwrap();
            listener.accept().unwrap();
        }
    }

    #[test]
    fn nothing_is_left_when_the_value_goes() {
        if !able() {
            return;
        }
        let keeper = Namespace::new("keeper").unwrap();
        let gone = Namespace::new("gone").unwrap();
        keeper.veth("eth0", &gone, "eth0").unwrap();
        drop(gone);
        // The kernel takes namespaces down in the background.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while keeper.run(interfaces).unwrap().len() > 1 {
            assert!(std::time::Instant::now() < deadline, "the far end's namespace still holds the cable");
            thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
