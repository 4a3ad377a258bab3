"""Source: camera scenes made here, with their ground truth; the same URI gives the same frames.

`synthetic:noise`                 noise without any truth, for measuring
`synthetic:shapes`                moving shapes; truth is ((label, left, top, right, bottom), ...)
`synthetic:clock`                 the same, with the time of capture in its pixels (`pixel_clock`)
`synthetic:cards?images=FOLDER`   real images, one class per subfolder, shown one after the other to
                                  a shaking, noisy camera; truth is the class, name the file

Options: width, height, fps, frames (0: without end), seed, live (1: at the pace of `fps`, as a
camera), and for cards hold (frames per image), size (of the image, in shares of the shorter side).
"""

from __future__ import annotations

import time

from device_profiles.errors import SourceError
from device_profiles.nearest import hint
from runtime.frame import Frame
from runtime.pixel_clock import draw_clock
from runtime.sources._options import Policy, read_options, redacted
from runtime.sources._scenes import SCENES, SceneOptions


def accepts(uri: str) -> bool:
    """Say whether `uri` names a synthetic scene."""
    return uri.startswith("synthetic:")


def open_source(uri: str) -> Synthetic:
    """Make a scene; SourceError for an unknown scene or option, or cards without images."""
    return Synthetic(uri)


def check(uri: str) -> None:
    """Raise SourceError for what could not be made."""
    kind, options = _asked(uri)
    SCENES[kind].check(uri, options)


def _asked(uri: str) -> tuple[str, SceneOptions]:
    """Return the scene and the options that `uri` names; SourceError where it names none."""
    kind = uri.removeprefix("synthetic:").partition("?")[0]
    if kind not in SCENES:
        raise SourceError(f"{redacted(uri)}: there is no scene {kind!r}; {hint(kind, SCENES)}")
    options = read_options(uri, SceneOptions)
    for name in ("width", "height", "fps", "hold", "size"):
        if not getattr(options, name) > 0:
            raise SourceError(f"{redacted(uri)}: option {name} must be positive")
    if options.size > 1:
        raise SourceError(f"{redacted(uri)}: option size is a share, at most 1")
    if SCENES[kind].clock and (options.width < 48 or options.height < 24):
        raise SourceError(
            f"{redacted(uri)}: a clock needs 48 x 24 pixels; ask for a larger picture"
        )
    return kind, options


class Synthetic:
    """A scene as a source; when live, `read` waits until the frame is due."""

    policy: Policy | None = None

    def __init__(self, uri: str) -> None:
        kind, options = _asked(uri)
        self.uri = redacted(uri)
        self.live = options.live
        self.fps: float | None = options.fps
        self.count: int | None = options.frames or None
        self._clock = SCENES[kind].clock
        self._view = SCENES[kind].make(uri, options)
        self._index = 0
        self._start: float | None = None

    def read(self) -> Frame | None:
        """Return the next frame of the scene."""
        index = self._index
        if index == self.count:
            return None
        self._index += 1
        image, name, truth = self._view(index)
        if self.live and self.fps:
            now = time.monotonic()
            self._start = now if self._start is None else self._start
            time.sleep(max(0.0, self._start + index / self.fps - now))
        captured_ns = time.monotonic_ns()
        if self._clock:
            draw_clock(image, captured_ns)
        return Frame(image, index, captured_ns, name, truth)

    def close(self) -> None:
        """End the source."""
        self.count = self._index
