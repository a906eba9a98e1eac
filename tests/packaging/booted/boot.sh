#!/bin/bash
# Starts systemd as PID 1 of a machine that is nothing but namespaces: its own processes, mounts, cgroup, network, host
# name and IPC, on a root directory in memory that has this machine's programs and none of its units, users or files.
#
#   DIR   has the program, what is shipped, and prove.sh, which the machine runs; it is /run/test in there.
#
# Ends when prove.sh does. Status 77: this machine does not allow it, and standard error says what.
set -eu

cannot() {
    echo "CANNOT: $*" >&2
    exit 77
}

# First as a process of this machine, with mounts of its own: a cgroup to live in, and a PID 1 in new namespaces.
if [ "${1:-}" != inside ]; then
    mkdir "$DIR/cgroup" "$DIR/root"
    mount -t cgroup2 cgroup2 "$DIR/cgroup" || cannot "no cgroup2 can be mounted"
    own=$DIR/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/firedoor-test-$$
    mkdir "$own" || cannot "no cgroup can be made"
    trap 'find "$own" -depth -type d -exec rmdir {} \;' EXIT
    status=0
    (
        echo "$BASHPID" >"$own/cgroup.procs" || cannot "no process can enter a cgroup"
        # It is given nothing by which it could reach the clock, the modules or the power switch of this machine.
        exec setpriv --bounding-set=-sys_time,-sys_boot,-sys_module,-sys_rawio \
            unshare --fork --kill-child --pid --mount --cgroup --net --uts --ipc bash "$0" inside
    ) || status=$?
    # What was killed with its PID 1 takes a moment to leave the cgroup.
    for _ in $(seq 50); do grep -q '^populated 0' "$own/cgroup.events" && break; sleep 0.1; done
    exit $status
fi

mount --make-rprivate /
root=$DIR/root
mount -t tmpfs -o mode=755 root "$root" || cannot "no tmpfs can be mounted"
cd "$root"
mkdir -p upper work usr etc/systemd/system proc sys dev run tmp var/tmp var/log var/lib root home old
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
chmod 1777 tmp var/tmp
mount -t overlay -o "lowerdir=/usr,upperdir=$root/upper,workdir=$root/work" usr usr || cannot "no overlay can be mounted"
cp usr/lib/systemd/system/systemd-journald{.service,.socket,-dev-log.socket} etc/systemd/system
mount -t tmpfs units usr/lib/systemd/system

mount -t tmpfs -o mode=755 run run
mkdir run/test
mount --bind "$DIR" run/test
mount -t proc proc proc
# What stands below belongs to the whole machine, but for what its network namespace has of its own.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind /proc/sys/net proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 shm dev/shm

# The targets that a machine has, empty; what is installed with Firedoor, by its own files.
for target in sysinit basic shutdown network-pre network multi-user umount sockets; do
    printf '[Unit]\nDefaultDependencies=no\n' >"etc/systemd/system/$target.target"
done
cp "$DIR"/firedoor.service "$DIR"/firedoor.socket "$DIR"/prove.service etc/systemd/system
cp "$DIR/firedoor" usr/bin/firedoor
chmod 755 usr/bin/firedoor
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
mkdir etc/firedoor
cp "$DIR/firedoor.toml" etc/firedoor
chroot . systemd-sysusers /run/test/firedoor.sysusers
chroot . systemd-tmpfiles --create /run/test/firedoor.tmpfiles

pivot_root . old
umount -l old
exec env -i container=test PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --system --unit=prove.service \
    --log-target=journal-or-kmsg --show-status=no </dev/null
