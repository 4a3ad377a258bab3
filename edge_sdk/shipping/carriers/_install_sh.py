"""The script that a stick and an SD card carry: it installs what lies beside it on the device."""

from __future__ import annotations

NAME = "install.sh"
FIRST_UNIT = "edge-sdk-first-boot.service"
MARK = "# Edge SDK: first boot"
"""In a file of cloud-init: it is ours."""

PARTITIONS = ("/boot/firmware", "/boot")
"""Where the boot partition is mounted on the device: by Raspberry Pi OS and Ubuntu, and before."""

_INSTALL = """\
#!/bin/sh
# Edge SDK: installs on this device what lies beside this script.
#
#     sudo sh install.sh [FOLDER]     now; FOLDER instead of /opt/edge-sdk
#     sudo sh install.sh --at-boot    soon, and again at the next boot where it was cut off
#
# What is installed is judged first: when it does not hold, the device stays as it is.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd -P)
agent=agents/{digest}
units=${{EDGE_SDK_SYSROOT:-}}/etc/systemd/system
unit={unit}
once=
case "${{1:-}}" in
  --at-boot) once=soon; shift ;;
  --once) once=now; shift ;;
esac

if [ "$once" = soon ] && [ -d "${{EDGE_SDK_SYSROOT:-}}/run/systemd/system" ]; then
  # Not from here: what starts this script waits for it, and may never start it again.
  mkdir -p "$units"
  cat >"$units/$unit" <<END
[Unit]
Description=Edge SDK: install what lies on the boot partition
RequiresMountsFor=$here
ConditionPathExists=$here/incoming/ready.json

[Service]
Type=oneshot
ExecStart=/bin/sh "$here/install.sh" --once
TimeoutStartSec=infinity
KillMode=process

[Install]
WantedBy=multi-user.target
END
  systemctl daemon-reload
  systemctl enable "$unit"
  systemctl start --no-block "$unit"
  exit 0
fi

if [ ! -f "$here/incoming/ready.json" ]; then
  echo "edge-sdk: nothing is left to install in $here"
  exit 0
fi
if ! command -v python3 >/dev/null; then
  echo "edge-sdk: python3 is not installed on this device; install it, then run $0 again" >&2
  exit 3
fi
if [ -n "${{1:-}}" ]; then root=$1
elif [ "$(id -u)" = 0 ]; then root=/opt/edge-sdk
else root=$HOME/.local/share/edge-sdk
fi

# Complete under another name first: whatever is cut, the device sees all of it or nothing.
mkdir -p "$root/agents"
draft=$root/{draft}
trap 'rm -rf "$draft"' EXIT
rm -rf "$draft"
mkdir "$draft"
cp -R "$here/incoming" "$draft/incoming"
cp -R "$here/$agent" "$draft/agent"
find "$draft" -type d -exec chmod 755 {{}} +
find "$draft" -type f -exec chmod 644 {{}} +
sync
[ -d "$root/$agent" ] || mv "$draft/agent" "$root/$agent"
exec 9>>"$root/lock"  # flock(1) is of util-linux, and of busybox
if command -v flock >/dev/null && ! flock -n 9; then
  echo "edge-sdk: a flash is at work on $root; try again when it is done" >&2
  exit 1
fi
rm -rf "$root/incoming"
mv "$draft/incoming" "$root/incoming"
exec 9>&-
rm -rf "$draft"
[ -e "$root/agent" ] || ln -sfn "$agent" "$root/agent"
sync

code=0
python3 -IS "$root/$agent/agent.py" boot "$root" || code=$?
# 0: it is installed; 1: it was judged, and does not hold. What else there is may be mended.
if [ -n "$once" ] && [ "$code" -le 1 ]; then
  rm -rf "$here/incoming" || true
  if [ -f "$units/$unit" ]; then
    systemctl disable "$unit" || true
    rm -f "$units/$unit"
    systemctl daemon-reload || true
  fi
fi
exit "$code"
"""

_FIRST = """\
#!/bin/sh
{mark}; cloud-init runs this once, late.
for boot in {partitions}; do
  if [ -f "$boot/edge-sdk/install.sh" ]; then
    exec sh "$boot/edge-sdk/install.sh" --at-boot
  fi
done
echo "edge-sdk: no boot partition with edge-sdk/install.sh in {partitions}" >&2
exit 1
"""

README = """\
Edge SDK: a release for a device, put here by `edge-sdk flash`.

Install it on the device, as root, in the folder that this file lies in:

    sudo sh install.sh

The device tries it first. When it does not hold, the device stays as it was, and says why:

    edge-sdk status --to ssh://user@device
"""


def install_script(digest: str, draft: str) -> str:
    """Return the script that installs what lies beside it, by the agent with that digest."""
    return _INSTALL.format(digest=digest, unit=FIRST_UNIT, draft=draft)


def first_boot_script(partitions: tuple[str, ...] = PARTITIONS) -> str:
    """Return what cloud-init runs at the first boot."""
    return _FIRST.format(mark=MARK, partitions=" ".join(partitions))
