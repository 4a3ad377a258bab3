"""The host's side of a flash: requests to the agent on a device, and what it tells meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

from device_profiles.errors import ReleaseError
from runtime.deaths import last_words
from runtime.progress import step

Told = Callable[[Mapping[str, Any]], None]
"""Takes what the device tells: `step`, `state`, and facts of it."""

_END_S = 5.0


class Session:
    """A conversation with an agent; `told` gets its steps. Close it at the end.

    ReleaseError for what the device refuses, with its reason, and for a connection that was cut:
    then the device goes on by itself with what it had begun.
    """

    def __init__(self, process: subprocess.Popen[bytes], uri: str, told: Told) -> None:
        self._process, self._uri, self._told = process, uri, told
        self._said = bytearray()
        self._listener = threading.Thread(target=self._listen, name="agent-stderr", daemon=True)
        self._listener.start()

    def request(self, do: str, **fields: Any) -> Any:
        """Ask for something and return the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:  # it ended; why, its last lines say
            return self._answer(do)
        return self._answer(do)

    def finish(self) -> Any:
        """Return the answer of an agent that was given a command and takes no requests."""
        return self._answer("answer")

    def close(self) -> None:
        """End the conversation; what the device has begun it brings to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        goes_on = not self._ended(_END_S)
        if goes_on:
            step(f"{self._uri} goes on by itself; see: edge-sdk status --to {self._uri}")
            # It ends ssh, and not an agent that runs on this machine.
            self._process.send_signal(signal.SIGHUP)
            goes_on = not self._ended(_END_S)
        self._process.stdout.close()
        if goes_on:
            self._process.returncode = 0  # it outlives us, so nobody here waits for its end
            return
        self._listener.join()

    def _ended(self, within_s: float) -> bool:
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _answer(self, do: str) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # of a login script that prints
                continue
            if not isinstance(message, dict):  # so is this
                continue
            if "error" in message:
                raise ReleaseError(str(message["error"]))
            if "answer" in message:
                return message["answer"]
            self._told(message)
        self._process.wait()
        self._listener.join()
        after = "; it goes on by itself" if do == "install" else ""
        raise ReleaseError(
            f"the connection to {self._uri} ended{last_words(bytes(self._said))}{after}; see what "
            f"it runs: edge-sdk status --to {self._uri}"
        )

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            while part := said.read1(1 << 16):  # type: ignore[attr-defined]
                self._said += part
                del self._said[: -(1 << 16)]
