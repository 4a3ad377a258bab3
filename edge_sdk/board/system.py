"""The few files that make a running system of Debian's packages: no systemd, busybox as init.

Boots are counted in /var/lib/edge/boots. At boot every executable of /etc/edge/boot.d runs, in the
order of the names, when ssh is up already, and then, as Debian's init and Buildroot's rcS have it,
/etc/rc2.d/S??* and /etc/init.d/S??* with the word `start`; /etc/edge/service, where there is one,
is started and started again whenever it ends. Keys come with the boot (/run/edge), never with the
disk.
"""

from __future__ import annotations

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/busybox"

#: The first program: loads drivers, mounts the disk, hands the keys on.
FIRST = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for module in $($B cat /modules/order); do $B insmod /modules/$module; done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do $B sleep 0.1; tries=$((tries+1)); done
$B mount -t ext4 -o noatime /dev/vda /root || { echo "edge: no disk"; $B sleep 5; $B reboot -f; }
$B mount -t tmpfs -o mode=755 run /root/run
$B cp -r /keys /root/run/edge
$B chmod 700 /root/run/edge; $B chmod 600 /root/run/edge/*
for place in proc sys dev; do $B mount --move /$place /root/$place; done
exec $B switch_root /root /usr/sbin/init
"""

INITTAB = """::sysinit:/usr/lib/edge/boot
::respawn:/usr/sbin/sshd -D -e
::once:/usr/lib/edge/started
::respawn:/usr/lib/edge/service
::restart:/usr/sbin/init
::ctrlaltdel:/usr/lib/busybox/reboot
::shutdown:/bin/busybox sync
::shutdown:/bin/busybox umount -a -r
"""

BOOT = f"""#!/bin/busybox sh
B=/bin/busybox
export PATH={PATH}
[ -e /usr/lib/busybox/ls ] || {{ $B mkdir -p /usr/lib/busybox; $B --install -s /usr/lib/busybox; }}
mkdir -p /run/sshd /run/lock /dev/pts /dev/shm
mount -t devpts devpts /dev/pts; mount -t tmpfs -o mode=1777 shm /dev/shm
rm -rf /tmp; mkdir -m 1777 /tmp
ip link set lo up; ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
for word in $(cat /proc/cmdline); do
  case $word in edge.name=*) hostname ${{word#edge.name=}};; esac
done
boots=$(cat /var/lib/edge/boots 2>/dev/null || echo 0)
echo $((boots+1)) > /var/lib/edge/boots.new
sync /var/lib/edge/boots.new && mv /var/lib/edge/boots.new /var/lib/edge/boots && sync /var/lib/edge
echo "edge: boot $((boots+1)) of $(hostname), up since $(cut -d' ' -f1 /proc/uptime) s"
"""

STARTED = f"""#!/bin/busybox sh
export PATH={PATH} HOME=/root
for script in /etc/edge/boot.d/*; do
  if [ -f "$script" ] && [ -x "$script" ]; then "$script" </dev/null; fi
done
for script in /etc/rc2.d/S??* /etc/init.d/S??*; do
  if [ -f "$script" ] && [ -x "$script" ]; then "$script" start </dev/null; fi
done
"""

SERVICE = f"""#!/bin/busybox sh
export PATH={PATH} HOME=/root
until [ -x /etc/edge/service ]; do sleep 2; done
/etc/edge/service </dev/null
sleep 1
"""

SSHD = f"""HostKey /run/edge/host_key
AuthorizedKeysFile /run/edge/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxSessions 64
ClientAliveInterval 15
LogLevel ERROR
SetEnv PATH={PATH} LANG=C.UTF-8
Subsystem sftp internal-sftp
"""

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nvideo:x:44:\nnogroup:x:65534:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/inittab": INITTAB,
    "etc/ssh/sshd_config": SSHD,
}
"""Plain files of the disk, by their path."""

PROGRAMS = {
    "usr/lib/edge/boot": BOOT,
    "usr/lib/edge/started": STARTED,
    "usr/lib/edge/service": SERVICE,
}

FOLDERS = (
    "dev", "etc/edge/boot.d", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp",
    "usr/local/bin", "var/cache", "var/empty", "var/lib/edge", "var/log", "var/tmp",
)  # fmt: skip

LINKS = {"usr/sbin/init": "../bin/busybox", "var/run": "../run"}
#: Where packages have no program of that name, busybox's does.
SHELL = ("usr/bin/sh", "busybox")
