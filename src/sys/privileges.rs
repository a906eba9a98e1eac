//! Giving up privileges: the user, the capabilities, file access (Landlock), system calls (seccomp).
//!
//! Each step only takes away, and holds for every thread started afterwards and every program run (nft): call them
//! before the first thread. What is kept is what the daemon still needs: CAP_NET_ADMIN for the kernel's tables,
//! CAP_NET_RAW for a packet socket on an interface that comes back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// Why a privilege could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The capabilities.
    #[error("capabilities: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// Landlock.
    #[error("landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// Seccomp.
    #[error("seccomp: {0}")]
    Seccomp(String),
}

fn checked(what: &'static str, result: libc::c_int) -> Result<(), Error> {
    if result == 0 { Ok(()) } else { Err(Error::System { what, source: io::Error::last_os_error() }) }
}

const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid(2) takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Becomes another user and group for good, with no supplementary groups but `group`, and keeps the permitted
/// capabilities for [`keep_network_capabilities`] to choose from.
///
/// # Errors
/// The process may not.
pub fn become_user(user: u32, group: u32, supplementary: &[u32]) -> Result<(), Error> {
    let on: libc::c_ulong = 1;
    // SAFETY: prctl(PR_SET_KEEPCAPS) takes one number and touches no memory of ours.
    checked("keeping capabilities over the change of user", unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, on) })?;
    // SAFETY: the pointer and length are those of a live slice of gid_t (u32), which the call only reads.
    let groups = unsafe { libc::setgroups(supplementary.len(), supplementary.as_ptr()) };
    checked("setting the groups", groups)?;
    // SAFETY: setresgid(2) takes three numbers.
    checked("changing the group", unsafe { libc::setresgid(group, group, group) })?;
    // SAFETY: setresuid(2) takes three numbers.
    checked("changing the user", unsafe { libc::setresuid(user, user, user) })
}

/// Keeps CAP_NET_ADMIN and CAP_NET_RAW, as far as the process has them, and gives up all others for good. Programs it
/// runs get the same two (ambient).
///
/// # Errors
/// The process may not.
pub fn keep_network_capabilities() -> Result<(), Error> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: caps::CapsHashSet = KEPT.into_iter().filter(|capability| permitted.contains(capability)).collect();
    for capability in caps::all() {
        // Only a process that may (CAP_SETPCAP) can shrink the bounding set; no_new_privs below does the rest.
        if !kept.contains(&capability) && caps::drop(None, CapSet::Bounding, capability).is_err() {
            break;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &kept)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Ambient, &kept)?;
    Ok(())
}

/// No program run from here on gains privileges (set-user-id bits, file capabilities).
///
/// # Errors
/// The kernel's.
pub fn no_new_privileges() -> Result<(), Error> {
    let (on, off): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: prctl(PR_SET_NO_NEW_PRIVS) takes numbers and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, off, off, off) };
    checked("forbidding new privileges", result)
}

/// How far a confinement reaches on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// As wanted.
    Fully,
    /// The kernel knows only a part of it.
    Partly,
    /// The kernel knows nothing of it.
    Not,
}

/// Confines file access: below `read` may be read and executed, below `write` also changed. Paths that do not exist
/// are passed over.
///
/// # Errors
/// The kernel's.
pub fn confine_files(read: &[PathBuf], write: &[PathBuf]) -> Result<Confined, Error> {
    let abi = ABI::V5;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .create()?;
    let rule = |path: &Path, access| PathFd::new(path).ok().map(|fd| PathBeneath::new(fd, access));
    let file_only = AccessFs::from_file(abi);
    for (paths, access) in [(read, AccessFs::from_read(abi)), (write, AccessFs::from_all(abi))] {
        for path in paths {
            let access = if path.is_dir() { access } else { access & file_only };
            if let Some(rule) = rule(path, access) {
                ruleset = ruleset.add_rule(rule)?;
            }
        }
    }
    let RestrictionStatus { ruleset, .. } = ruleset.restrict_self()?;
    Ok(match ruleset {
        RulesetStatus::FullyEnforced => Confined::Fully,
        RulesetStatus::PartiallyEnforced => Confined::Partly,
        RulesetStatus::NotEnforced => Confined::Not,
    })
}

/// System calls that neither the daemon nor nft has any business with: they answer EPERM.
const DENIED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Confines system calls.
///
/// # Errors
/// The kernel's, or an architecture the filter compiler does not know.
pub fn confine_system_calls() -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Seccomp(error.to_string());
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> = DENIED.iter().map(|&call| (call, Vec::new())).collect();
    let errno = u32::try_from(libc::EPERM).unwrap_or(1);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), architecture)
        .map_err(|error| failed(&error))?;
    let program: BpfProgram = filter.try_into().map_err(|error| failed(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| failed(&error))
}
