"""An SD card that was not started yet: `boot:/path`, where its boot partition is mounted.

The release goes to `edge-sdk` on it, and cloud-init installs it at the first boot: Raspberry Pi OS
since Trixie reads its seed from /boot/firmware, Ubuntu from the partition called system-boot, and
both run a shell script that is the seed's vendor-data beside what user-data says. So the user's
files stay as they are. Other images of the Raspberry Pi have the script for a person to run.
"""

from __future__ import annotations

import re
from pathlib import Path

from device_profiles.errors import RequestError
from edge_sdk.shipping.carriers import _media
from edge_sdk.shipping.carriers._install_sh import MARK, NAME, PARTITIONS, first_boot_script
from edge_sdk.shipping.carriers.base import Delivered, Parcel
from edge_sdk.shipping.carriers.folder import mounted, unmounted, write_script

_PARCEL = "edge-sdk"
_KERNELS = ("kernel*.img", "vmlinuz*", "*.dtb", "start*.elf")
_VENDOR = "vendor-data"

#: What a seed of cloud-init has to have; written where the user has only one of them.
_EMPTY = {
    "user-data": f"#cloud-config\n{MARK} needs this file, and nothing in it.\n{{}}\n",
    "meta-data": f"{MARK} needs this file.\ndsmode: local\ninstance-id: edge-sdk\n",
}


def open_carrier(rest: str) -> BootMedium:
    """Return the boot partition at a path; RequestError for what is none, with what it lacks."""
    path = mounted(rest, "boot")
    _require_boot(path)
    return BootMedium(path)


class BootMedium:
    """The boot partition of an SD card."""

    def __init__(self, path: Path) -> None:
        self.uri = f"boot:{path}"
        self._path = path

    def deliver(self, parcel: Parcel) -> Delivered:
        """Write a parcel, and what has cloud-init install it."""
        _require_boot(self._path)
        self._require_ours()
        root = self._path / _PARCEL
        done = _media.deliver(root, parcel, self.uri, lambda: self._first_boot(root, parcel))
        _media.keep_one_agent(root, parcel)
        return done

    def _first_boot(self, root: Path, parcel: Parcel) -> list[str]:
        write_script(root, parcel)
        notes = unmounted(self._path)
        by_hand = f"sudo sh {PARTITIONS[0]}/{_PARCEL}/{NAME}"
        if not any((self._path / name).is_file() for name in _EMPTY):
            how = f"this image has no cloud-init (no user-data); start it and run there: {by_hand}"
            return [how, *notes]
        self._seed()
        if re.search(r"(?m)^vendor_data", self._read("user-data")):
            notes.append(
                f"user-data says vendor_data: where that disables it, run there: {by_hand}"
            )
        return ["cloud-init installs it at the first boot, within minutes", *notes]

    def _seed(self) -> None:
        """Write what makes cloud-init run the script, and what it reads no seed without."""
        for name, text in _EMPTY.items():
            if not (self._path / name).exists():
                _media.write(self._path / name, text)
        _media.write(self._path / _VENDOR, first_boot_script())

    def _require_ours(self) -> None:
        """Raise RequestError where a vendor-data of the user's is in the way."""
        path = self._path / _VENDOR
        if path.exists() and MARK not in self._read(_VENDOR):
            raise RequestError(
                f"{path} is not ours and would be lost; move it away, or write the release to a "
                "stick (folder:) and run its install.sh on the device"
            )

    def _read(self, name: str) -> str:
        try:
            return (self._path / name).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise RequestError(f"{self._path / name} cannot be read: {error.strerror}") from error


def _require_boot(path: Path) -> None:
    """Raise RequestError for a folder that is no boot partition of a Raspberry Pi."""
    # Ubuntu keeps two sets of what it boots, and names one by os_prefix in config.txt.
    folders = (path, path / "current")
    lacks = []
    if not (path / "config.txt").is_file():
        lacks.append("config.txt")
    if not any((folder / "cmdline.txt").is_file() for folder in folders):
        lacks.append("cmdline.txt")
    if not any(True for folder in folders for kind in _KERNELS for _ in folder.glob(kind)):
        lacks.append(f"kernel ({', '.join(_KERNELS)})")
    if lacks:
        raise RequestError(
            f"boot:{path} is no boot partition of a Raspberry Pi: it has no "
            f"{' and no '.join(lacks)}; name the folder in which the first partition of the card "
            "is mounted, such as /media/you/bootfs"
        )
