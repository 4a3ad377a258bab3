"""The texts that make a device start a service: units of systemd, scripts of other systems."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from device_profiles.errors import RequestError
from runtime.agent.services.base import Place, ServiceOptions

RUN_UNIT = "edge-sdk.service"
BOOT_UNIT = "edge-sdk-boot.service"
STATE = "edge-sdk"
IDLE = 78
"""What the agent's `serve` ends with where there is nothing to run: EX_CONFIG of sysexits.h."""
ENDED = "ended"
"""In the folder that a unit runs in: how it ended last."""

_MARK = "# Edge SDK in "
_HOMES = ("/home", "/root", "/run/user")
_SLOWER = ["RestartSec=1", "RestartSteps=6", "RestartMaxDelaySec=60"]
_FLEETING = ("/tmp", "/var/tmp", "/run", "/dev")


def run_unit(place: Place, options: ServiceOptions, system: bool = True, version: int = 0) -> str:
    """Return the unit of the service, for the system or for a user.

    `options.groups` must exist, or it does not start. `version` is systemd's, 0 for an old one.
    RequestError for a folder that a unit cannot name.
    """
    unit = [
        f"{_MARK}{_plain(str(place.root))}",
        "[Unit]",
        f"Description={_line(options.description)}",
        # Not network-online.target: a camera at hand does not wait for a network that is away.
        *(["After=network.target"] if system else []),
        "# Never given up: a camera may be away for hours. A loop of crashes is slow (RestartSec),",
        "# is seen in NRestarts, and a release that is new is taken back after a few.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStartPre={'+' if system else ''}-{_words(place.command('guard', str(place.root)))}",
        f"ExecStart={_words(place.command('serve', str(place.root)))}",
        f"ExecStopPost=-/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS >{ENDED}'",
        f"TimeoutStartSec={options.ready_s:g}",
        *([f"WatchdogSec={options.watchdog_s:g}"] if options.watchdog_s else []),
        "# One that hangs has nothing to say any more.",
        "WatchdogSignal=SIGKILL",
        "Restart=always",
        f"RestartPreventExitStatus={IDLE}",
        *(_SLOWER if version >= 254 else ["RestartSec=5"]),
        "# SIGTERM ends a run cleanly; its processes end with it.",
        "KillMode=mixed",
        "KillSignal=SIGTERM",
        "TimeoutStopSec=15",
        "# A run goes on when one of its engines' processes is ended for want of memory.",
        "OOMPolicy=continue",
        f"Environment=EDGE_SDK_SERVICE=systemd-{'system' if system else 'user'}",
        *(_hardened(place, options) if system else _own(place)),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if system else 'default'}.target",
    ]
    return "\n".join(unit) + "\n"


def boot_unit(place: Place, system: bool = True) -> str:
    """Return the unit that finishes at boot what was interrupted, and installs what was delivered.

    Nothing is ordered before or after it: it starts the service itself.
    """
    unit = [
        f"{_MARK}{_plain(str(place.root))}",
        "[Unit]",
        "Description=Edge SDK: finish or install a release at boot",
        *(["After=local-fs.target"] if system else []),
        f"ConditionPathExists={_plain(str(place.root)).replace('%', '%%')}/agent/agent.py",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={_words(place.command('boot', str(place.root)))}",
        "# The processors of a board may need minutes for an environment and its golden replay.",
        "TimeoutStartSec=infinity",
        "# Who waits to judge a release goes on when this process is killed.",
        "KillMode=process",
        f"Environment=EDGE_SDK_SERVICE=systemd-{'system' if system else 'user'}",
        "",
        "[Install]",
        f"WantedBy={'multi-user' if system else 'default'}.target",
    ]
    return "\n".join(unit) + "\n"


def root_of(text: str) -> str | None:
    """Return the folder that a unit or script of ours is for, None for one that is not ours."""
    for line in text.splitlines()[:2]:
        if line.startswith(_MARK):
            return line[len(_MARK) :]
    return None


def init_script(place: Place) -> str:
    """Return a script for /etc/init.d, of the kind that busybox and System V's init run."""
    return f"""#!/bin/sh
{_MARK}{_plain(str(place.root))}
### BEGIN INIT INFO
# Provides:          edge-sdk
# Required-Start:    $local_fs
# Required-Stop:     $local_fs
# Should-Start:      $network $syslog
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Camera inference (Edge SDK)
### END INIT INFO
agent() {{ {_shell(place)} "$1" {_root(place)}; }}
case "$1" in
  start) (trap '' HUP; agent boot </dev/null >/dev/null 2>&1 &) ;;
  stop) agent stop ;;
  restart) agent stop; "$0" start ;;
  status) agent status ;;
  *) echo "usage: $0 start|stop|restart|status" >&2; exit 2 ;;
esac
"""


def openrc_script(place: Place) -> str:
    """Return a script for /etc/init.d of OpenRC."""
    return f"""#!/sbin/openrc-run
{_MARK}{_plain(str(place.root))}
description="Camera inference (Edge SDK)"
depend() {{ need localmount; after net; }}
agent() {{ {_shell(place)} "$1" {_root(place)}; }}
start() {{ (trap '' HUP; agent boot </dev/null >/dev/null 2>&1 &) }}
stop() {{ agent stop; }}
"""


def boot_line(place: Place) -> str:
    """Return the line that a shell runs at boot."""
    return f"{_shell(place)} boot {_root(place)} </dev/null >/dev/null 2>&1 &"


def _shell(place: Place) -> str:
    return shlex.join(place.command())


def _root(place: Place) -> str:
    return shlex.quote(_plain(str(place.root)))


def _own(place: Place) -> list[str]:
    """A user's unit: it runs as that user, and may not shut itself in further."""
    work = _plain(f"{place.root}/work").replace("%", "%%")
    return [f"WorkingDirectory={work}", "NoNewPrivileges=yes"]


def _hardened(place: Place, options: ServiceOptions) -> list[str]:
    """Everything shut but what cameras, accelerators and a network need."""
    root = PurePosixPath(place.root)
    if _below(str(root), _FLEETING):
        raise RequestError(
            f"{root} is emptied at boot; name another folder in the address, such as /opt/edge-sdk"
        )
    home = any(_below(path, _HOMES) for path in (str(root), place.python))
    return [
        "",
        "# Nobody's user, who may read the release and write its own folder.",
        "DynamicUser=yes",
        *([f"SupplementaryGroups={' '.join(options.groups)}"] if options.groups else []),
        f"StateDirectory={STATE}",
        f"WorkingDirectory=%S/{STATE}",
        "UMask=0077",
        f"ReadOnlyPaths={_quoted(str(root))}",
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if home else 'yes'}",
        "PrivateTmp=yes",
        "# Cameras and accelerators are character devices of many kinds: PrivateDevices would hide",
        "# them, and a list would miss some. Their groups say who may; no disk is among them.",
        "DevicePolicy=closed",
        "DeviceAllow=char-* rw",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectProc=invisible",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "KeyringMode=private",
        "# Netlink is how libraries learn of cameras that are plugged in.",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
        "# Not MemoryDenyWriteExecute: engines compile code while they run.",
    ]


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _words(words: list[str]) -> str:
    """Quote a command as systemd.service(5) reads it."""
    first, *rest = words
    if set(first) & set("\"'\\"):
        raise RequestError(f"systemd starts no program that is called {first}; rename its folder")
    # In the name of the program a dollar is one already.
    return " ".join([_quoted(first), *(_quoted(word).replace("$", "$$") for word in rest)])


def _quoted(word: str) -> str:
    text = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return text if text == word and not set(word) & set(" '\"\\;") else f'"{text}"'


def _line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%%").rstrip("\\")


def _plain(path: str) -> str:
    """Return a path that a line of text can hold; RequestError for another."""
    if not path.isprintable() or path != path.strip():
        raise RequestError(
            f"{path!r} cannot be named in a unit or a script; name a folder without line breaks "
            "and outer spaces in the address"
        )
    return path
