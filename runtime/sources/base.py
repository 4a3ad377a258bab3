"""What every source is: frames, one after the other, each with its capture time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runtime.sources._options import Policy

if TYPE_CHECKING:  # it needs numpy, and who only asks what a source is called does not
    from runtime.frame import Frame


class Source(Protocol):
    """Frames from a camera or from files. `live` sources may lose frames, files never do.

    `uri` holds no password. `fps` is the nominal rate in frames per second, `count` the number of
    frames; None where unknown. A gap in the frames' indices says how many were lost. `read`
    returns None at the end and raises SourceError when the source fails. `policy` is what the
    user asked for, None: nothing. A source may have an `interrupt()`, which makes a `read` that
    blocks in another thread return.
    """

    uri: str
    live: bool
    fps: float | None
    count: int | None
    policy: Policy | None

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end of the source."""

    def close(self) -> None:
        """Free the device or file."""
