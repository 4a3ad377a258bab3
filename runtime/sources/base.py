"""What every source is: frames, one after the other, each with its capture time."""

from __future__ import annotations

from typing import Protocol

from runtime.frame import Frame


class Source(Protocol):
    """Frames from a camera or from files. `live` sources may lose frames, files never do.

    `fps` is the nominal rate in frames per second, `count` the number of frames; None where
    unknown. `read` returns None at the end and raises SourceError when the source fails.
    """

    uri: str
    live: bool
    fps: float | None
    count: int | None

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end of the source."""

    def close(self) -> None:
        """Free the device or file."""
