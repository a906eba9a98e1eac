# Runs on the booted machine, as one of its units, and prints a fact a line; what they must be, the test knows.
set -eux
unit=firedoor.service
host=10.77.0.9
worm=10.77.0.66

fact() { echo "$@"; }
property() { systemctl show --value --property="$1" "$unit"; }
state() { echo "$(property ActiveState)/$(property SubState)"; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
is_acted_on() { nft get element inet firedoor acted4 "{ fd0 . $1 }" >/dev/null 2>&1; }

# Waits until systemd has restarted the unit so many times; prints how long that took.
restarted() {
    local begun
    begun=$(milliseconds)
    for _ in $(seq 400); do
        if [ "$(property NRestarts)" -ge "$1" ] && [ "$(state)" = active/running ]; then break; fi
        sleep 0.1
    done
    fact "RESTARTS_$1 $(property NRestarts) $(state) $(($(milliseconds) - begun))"
}

trap 'journalctl --no-pager >/run/test/journal' EXIT

ip link set lo up
ip link add fd0 type veth peer name fd1
ip addr add 10.77.0.1/24 dev fd0
ip link set fd0 up
unshare --net sleep infinity &
machine=$!
while [ "$(readlink /proc/$machine/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link set fd1 netns $machine
nsenter --net --target=$machine sh -c "
    ip addr add $worm/24 dev fd1 && ip link set fd1 up && ip route add default via 10.77.0.1"

fact "TYPE $(property Type)"
systemctl start $unit
fact "STARTED $(state)"
first=$(property MainPID)
grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' "/proc/$first/status"
fact "OWNER $(stat --format='%U:%G' "/proc/$first")"
fact "SOCKET $(stat --format='%U:%G %a' /run/firedoor/firedoor.sock)"
fact "HISTORY $(stat --format='%U:%G %a' /var/lib/firedoor/history.db)"
exec 3<>/dev/tcp/127.0.0.1/9477
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
fact "METRICS $(grep -c '^firedoor_' <&3)"

# All of it at work: what the ring shows is judged, and kernel and history take it.
for number in $(seq 30); do
    is_acted_on $worm && break
    nsenter --net --target=$machine timeout 0.1 bash -c ": </dev/tcp/10.78.0.$number/445" 2>/dev/null || true
done
fact "WORM $number $(firedoor --json why $worm | grep -c '"decision": *"contain"')"
firedoor release $worm --reason "the drill is over"

firedoor contain $host --reason "a drill"
is_acted_on $host
(
    looks=0 misses=0
    while [ ! -e /run/over ]; do
        looks=$((looks + 1))
        is_acted_on $host || misses=$((misses + 1))
        sleep 0.01
    done
    fact "WATCHED $looks $misses"
) 2>/dev/null &
watcher=$!

systemctl reload $unit
fact "RELOADED $(state) $(($(property MainPID) - first))"
cp /etc/firedoor/firedoor.toml /run/good.toml
echo 'no_such_key = 1' >>/etc/firedoor/firedoor.toml
status=0
systemctl reload $unit || status=$?
fact "REFUSED $status $(state) $(($(property MainPID) - first))"
cp /run/good.toml /etc/firedoor/firedoor.toml

kill -KILL "$first"
restarted 1
fact "AFTER_KILL $(firedoor --json hosts | grep -c $host)"

kill -STOP "$(property MainPID)"
restarted 2
fact "AFTER_HANG $(firedoor --json hosts | grep -c $host)"

systemctl stop $unit
fact "STOPPED $(state) $(systemctl is-active firedoor.socket || true)"
sleep 1
fact "LEFT $(nft list chain inet firedoor door | grep -c 'hook ingress') $(is_acted_on $host && echo 1)"
systemctl start $unit
fact "AGAIN $(state) $(firedoor --json hosts | grep -c $host)"
: >/run/over
wait $watcher
systemctl stop $unit
