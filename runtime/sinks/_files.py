"""What the sinks that write files share."""

from __future__ import annotations

from pathlib import Path

from device_profiles.errors import OutputError


def unwritable(path: str | Path, error: OSError) -> OutputError:
    """Return the error for an output that the system refuses, with what to do about it."""
    folder = Path(path).parent
    remedy = "check the folder's permissions and the space on the disk"
    if str(path) != "-" and not folder.is_dir():
        remedy = f"make the folder {folder} first, or choose another"
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")
