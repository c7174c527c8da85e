#!/bin/busybox sh
# The first program of a guest of `cargo xtask vm`. Runs each check and writes what it says to the second
# serial line, in sections that src/vm/guest.rs reads; then switches the machine off.

export PATH=/bin HOME=/root AGENTSIGHT_STORE=/root/store RUST_BACKTRACE=0
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t securityfs security /sys/kernel/security
mount -t tracefs tracing /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
echo 0 > /proc/sys/kernel/printk
stty -F /dev/ttyS1 raw

# section NAME COMMAND..: what the command prints, and its exit code. What it complains about goes to the
# console.
section() {
	name=$1
	shift
	{
		echo "@@ begin $name"
		"$@" 2> /dev/console
		echo "@@ end $?"
	} > /dev/ttyS1
}

# With their paths, as the shell does without a process for what it can do itself.
watched='/bin/cat /etc/greeting > /tmp/copy
/bin/mv /tmp/copy /tmp/moved
/bin/rm /tmp/moved
/bin/wget -q -O /tmp/page http://127.0.0.1:8080/page
/bin/grep MemAvailable /proc/meminfo > /tmp/memory
printf "GET /large HTTP/1.0\r\n\r\n" |
	/bin/openssl s_client -quiet -psk 5eed -connect 127.0.0.1:4433 > /tmp/large
exit 7'

mkdir -p /tmp/www
head -c 1000000 /dev/zero > /tmp/www/large
echo page > /tmp/www/page
httpd -p 127.0.0.1:8080 -h /tmp/www
# With a key that both know, as it takes no certificate. There is no openssl if the host has none.
[ -x /bin/openssl ] && (cd /tmp/www && exec openssl s_server -quiet -HTTP -nocert -psk 5eed \
	-accept 127.0.0.1:4433 < /dev/null > /dev/console 2>&1) &

section kernel uname -r
section openssl test -x /bin/openssl
section lsm cat /sys/kernel/security/lsm
section verifier /test/bpf_verifier --ignored --nocapture
section sensor /test/bpf_sensor --ignored --test-threads=1
section doctor agentsight doctor --json
section before grep MemAvailable /proc/meminfo
section run agentsight run --quiet -- sh -c "$watched"
section show agentsight show last --json
section verify agentsight verify
/attack/run.sh together /attack /tmp/attacked /tmp/attackers > /dev/console 2>&1
for file in /tmp/attackers/*; do
	section "evasion/${file##*/}" cat "$file"
done
section during cat /tmp/memory
sync
poweroff -f
