"""Two releases on the same frames, each in its own environment: `python -m runtime.shadow`.

    {"source": URI, "frames": N, "start_s": S, "old": COMMAND, "new": COMMAND}

comes in on standard input, as JSON (an address in the arguments would show its password). Both
commands are of `runtime.answers`, with the Python and the bundle of a release. Every frame is read
once and goes to both through pipes, so that nothing lies on the disk. One line of JSON on standard
output has `frames`, how many were compared; `judged`, on how many of them there was something to
agree on; `agreement`, the mean of these, 0..1; `source`; `ms`, the median of one run of each; and
`notes`. Or it has `error` and its `kind`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EdgeError, EngineError, GateError, SourceError
from runtime.deaths import signal_of, signal_words
from runtime.evaluate import Answer, Evaluation, between_models
from runtime.sources import Source, open_source
from runtime.wire import Array, Message, WireError, receive, send

FRAME_S = 60.0
"""How long the source may take for a frame, and a release for its answer."""
_END_S = 5.0


@dataclass(frozen=True)
class Request:
    """What is to be compared: the commands of the `old` release and the `new` one, on `frames`
    frames of `source`. Each may take `start_s` to be ready, and `frame_s` for a frame."""

    source: str
    frames: int
    old: Sequence[str]
    new: Sequence[str]
    start_s: float = 600.0
    frame_s: float = FRAME_S


@contextmanager
def within(seconds: float, stop: Callable[[], None]) -> Iterator[threading.Event]:
    """Call `stop` unless the body ends in time; the event tells whether it was called."""
    late = threading.Event()

    def over() -> None:
        late.set()
        stop()

    timer = threading.Timer(seconds, over)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


class Answers:
    """A release that answers in a process of its own: EngineError, naming it, when it does not."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self._name = name
        self.ms: list[float] = []
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
            )
        except OSError as error:
            raise EngineError(f"the {name} release does not start: {error.strerror}") from error

    def task(self, seconds: float) -> str:
        """Return its task when it is ready, which may take some seconds."""
        return str(self._told(None, seconds, "was not ready")[0]["task"])

    def answer(self, image: NDArray[np.uint8], seconds: float) -> Answer:
        """Return its answer to a frame."""
        message, arrays = self._told(image, seconds, f"did not answer frame {len(self.ms) + 1}")
        self.ms.append(float(message["ms"]))
        return Answer(message["facts"], tuple(arrays))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _told(
        self, image: NDArray[np.uint8] | None, seconds: float, what: str
    ) -> tuple[Message, list[Array]]:
        """Send a frame, if any, and return what comes back; EngineError where that is nothing."""
        to, back = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        found = None
        with within(seconds, self._process.kill) as late:
            if image is not None:
                with suppress(OSError):  # it has ended, and may have said why
                    send(to, {}, [image])
            with suppress(WireError):  # cut off where it ended
                found = receive(back.read)
        if late.is_set():
            raise EngineError(f"the {self._name} release {what} within {seconds:g} s")
        if found is None:
            raise EngineError(f"the {self._name} release {what}: {self._fate()}")
        if "error" in found[0]:
            raise EngineError(f"the {self._name} release {what}: {found[0]['error']}")
        return found

    def _fate(self) -> str:
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return "it said something else"
        number = signal_of(code)
        return f"it crashed with {signal_words(number)}" if number else f"it ended with code {code}"


def compare(request: Request) -> dict[str, Any]:
    """Return how far two releases agree; EdgeError where they cannot be compared."""
    with ExitStack() as stack:
        # First, since the running release may hold the camera: that is known in a moment.
        source = stack.enter_context(closing(open_source(request.source)))
        old = stack.enter_context(closing(Answers("old", request.old)))
        old_task = old.task(request.start_s)
        new = stack.enter_context(closing(Answers("new", request.new)))
        new_task = new.task(request.start_s)
        if old_task != new_task:
            raise GateError(
                f"the new release is of task {new_task}, the old one of {old_task}: they cannot be "
                "compared; flash it without a canary"
            )
        shares = _shares(source, (old, new), between_models(new_task), request)
        return _found(source.uri, request.frames, shares, (old, new))


def _shares(
    source: Source, pair: tuple[Answers, Answers], evaluation: Evaluation, request: Request
) -> list[float | None]:
    """Return how far both agree on each frame, None where there is nothing to agree on."""
    shares: list[float | None] = []
    while len(shares) < request.frames:
        image = _read(source, request.frame_s)
        if image is None:
            break
        # In turns, so that neither always finds the caches as the other left them.
        order = pair if len(shares) % 2 else pair[::-1]
        answers = {side: side.answer(image, request.frame_s) for side in order}
        try:
            shares.append(evaluation.agreement(answers[pair[0]], answers[pair[1]]))
        except GateError as error:
            raise GateError(
                f"the answers of the old release and of the new one to frame {len(shares) + 1} "
                f"cannot be compared: {error}; flash it without a canary"
            ) from error
    if not shares:
        raise SourceError(f"{source.uri}: there is no frame in it")
    return shares


def _read(source: Source, seconds: float) -> NDArray[np.uint8] | None:
    """Return the next picture, None at the end; SourceError when none comes."""
    with within(seconds, getattr(source, "interrupt", lambda: None)) as late:
        frame = source.read()
    if frame is None and late.is_set():
        raise SourceError(f"{source.uri}: no frame came within {seconds:g} s")
    return None if frame is None else frame.image


def _found(
    source: str, wanted: int, shares: Sequence[float | None], pair: tuple[Answers, Answers]
) -> dict[str, Any]:
    judged = [share for share in shares if share is not None]
    notes = ["the times are of runs in turns, beside what runs"]
    if len(shares) < wanted:
        notes.append(f"{source} ended after {len(shares)} of {wanted} frames")
    if not judged:
        notes.append(f"neither found anything in {len(shares)} frames: that says little")
    elif len(judged) < len(shares):
        notes.append(f"in {len(shares) - len(judged)} frames neither found anything")
    return {
        "frames": len(shares),
        "judged": len(judged),
        "agreement": fmean(judged) if judged else 1.0,
        "source": source,
        "ms": {
            name: round(median(side.ms), 4) for name, side in zip(("old", "new"), pair, strict=True)
        },
        "notes": notes,
    }


def main() -> int:
    """Compare and print; the exit code is 1 where there is no comparison."""
    fields: Mapping[str, Any] = json.load(sys.stdin)
    try:
        found = compare(Request(**fields))
    except EdgeError as error:
        found = {"error": str(error), "kind": type(error).__name__}
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if "error" in found else 0


if __name__ == "__main__":
    sys.exit(main())
