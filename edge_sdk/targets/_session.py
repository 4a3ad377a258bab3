"""A session: one process of a target that opens and runs engines for us, watched."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from device_profiles import errors
from device_profiles.errors import CrashError, EdgeError, EngineError
from edge_sdk.targets._engine import RemoteEngine
from edge_sdk.targets.base import Start, Target
from runtime.deaths import last_words, signal_of, signal_words
from runtime.engines import EngineOptions
from runtime.wire import Array, Message, WireError, receive, send

PATIENCE_S = 120.0
"""How long an answer is waited for: a Zero may take as long to start and to load a large model."""

EMULATED_PATIENCE_S = 900.0
"""The same where the CPU is an emulator's, which computes floats 250 to 380 times slower."""

_TAIL = 8192


class Session:
    """A process of `target` that serves; its methods may be called from one thread at a time.

    Whatever goes wrong there is an EdgeError of the same kind here; a process that dies is a
    CrashError, and one that does not answer within `patience_s` an EngineError. Both close it.
    """

    def __init__(
        self, target: Target, given: Start | None = None, patience_s: float | None = None
    ) -> None:
        self.target = target
        usual = EMULATED_PATIENCE_S if target.emulated else PATIENCE_S
        self.patience_s = usual if patience_s is None else patience_s
        self._said = b""
        self._count = 0
        self._late = self._closed = False
        self._process = target.start(["-m", "runtime.serve"], given or Start())
        self._listener = threading.Thread(target=self._listen, name="session-words", daemon=True)
        self._listener.start()

    def __enter__(self) -> Session:
        """Return the session itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed, or died."""
        return self._closed

    def about(self) -> dict[str, Any]:
        """Return the facts of the machine, as `runtime.about` gives them."""
        return self.ask({"do": "about"}, doing="described itself")[0]

    def open(self, engine: str, model: bytes, options: EngineOptions) -> RemoteEngine:
        """Load a model in an engine of the target; raises what that raises there."""
        import numpy as np

        self._count += 1
        request = {
            "do": "open",
            "number": self._count,
            "engine": engine,
            "options": asdict(options),
        }
        where = f"{engine} on {options.provider}"
        facts, _ = self.ask(request, [np.frombuffer(model, np.uint8)], f"loaded it in {where}")
        return RemoteEngine(self, self._count, facts)

    def ask(
        self, request: Mapping[str, Any], arrays: Sequence[Array] = (), doing: str = "worked"
    ) -> tuple[Message, list[Array]]:
        """Send a request and return the answer; `doing` says what for, for when it dies of it."""
        if self._closed:
            raise EngineError(f"the session on {self.target.uri} is closed; open another")
        with self._watched():
            try:
                assert self._process.stdin is not None
                with contextlib.suppress(OSError):  # it died; what it said last is yet to be read
                    send(self._process.stdin, request, arrays)  # type: ignore[arg-type]
                found = receive(self._read)
            except WireError as error:
                if self._died():  # in the middle of an answer
                    raise self._death(doing) from error
                self._process.kill()
                self._end()
                raise EngineError(
                    f"{self.target.uri} wrote something else than answers ({error})"
                    f"{self._words()}; see that its Python starts without printing"
                ) from error
        if found is None:
            raise self._death(doing)
        message, results = found
        if "error" in message:
            kind = getattr(errors, str(message.get("kind")), EngineError)
            raise _error(kind, f"on {self.target.uri}: {message['error']}")
        return message, results

    def kill(self) -> None:
        """End the process at once; may be called while another thread asks, which then fails."""
        self._process.kill()

    def close(self) -> None:
        """End the process, which may free what it holds first."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _died(self) -> bool:
        """Whether a signal ended the process, ours for want of an answer or another."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return signal_of(self._process.wait(1.0)) is not None
        return False

    def _end(self) -> int:
        """Close everything and return the code of the process."""
        self._closed = True
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        self._listener.join(2.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code

    def _read(self, count: int) -> bytes:
        """Return `count` bytes of what the process writes, fewer only where it ended."""
        assert self._process.stdout is not None
        parts = bytearray()
        while len(parts) < count:
            part = os.read(self._process.stdout.fileno(), min(count - len(parts), 1 << 20))
            if not part:
                break
            parts += part
        return bytes(parts)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Kill the process where the answer is too long in coming: no pipe blocks for ever."""

        def kill() -> None:
            self._late = True
            self._process.kill()

        timer = threading.Timer(self.patience_s, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _listen(self) -> None:
        """Keep the last words of the process: what libraries print often says why they fail."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while part := os.read(pipe.fileno(), _TAIL):
                self._said = (self._said + part)[-_TAIL:]

    def _death(self, doing: str) -> EdgeError:
        code = self._end()
        where = self.target.uri
        if self._late:
            return EngineError(
                f"{where} gave no answer within {self.patience_s:.3g} s when it {doing}"
                f"{self._words()}; see that it is not overloaded and that the model fits it"
            )
        number = signal_of(code)
        if number is None:
            return EngineError(f"{where} ended with code {code} when it {doing}{self._words()}")
        return CrashError(
            f"{where} crashed with {signal_words(number)} when it {doing}{self._words()}",
            number,
        )

    def _words(self) -> str:
        return last_words(self._said)


def _error(kind: Any, text: str) -> EdgeError:
    usable = isinstance(kind, type) and issubclass(kind, EdgeError) and kind is not CrashError
    error: EdgeError = kind(text) if usable else EngineError(text)
    return error
