"""Isolated: a source in a process of its own, which can be killed when it hangs.

    python -m runtime.isolated DATA_FD TELL_FD

reads `[uri, options]` as a line of JSON from its standard input (an address in the arguments would
show its password to every user), and lives until that input ends, which it does with its parent.
Frames lie in shared memory that has no name, in one of a few slots; a byte in a pipe says that
there is a newer one. The parent copies the newest out, and again if it was overwritten meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EdgeError, MissingError, SourceError
from runtime.frame import Frame
from runtime.pool import Pool
from runtime.sources import connect
from runtime.sources._options import Policy, SourceOptions, redacted
from runtime.sources.base import Source

_SLOTS = 4
_NEWEST = struct.Struct("=Q")
_HEAD = struct.Struct("=QQqqIII")  # sequence before, after; captured_ns, index; shape
_HEAD_BYTES = 64
_FRAME, _END, _FAILED = b".", b"$", b"!"
_REAP_S = 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Isolated:
    """A source in a child process: opening never blocks, `read` until `interrupt` at the most.

    `fps` and `count` are known from the first frame on.
    """

    def __init__(self, uri: str, options: SourceOptions) -> None:
        self.uri = redacted(uri)
        self.live = True
        self.fps: float | None = None
        self.count: int | None = None
        self.policy = options.policy
        self._memory: mmap.mmap | None = None
        self._seen = 0
        self._pool = Pool()
        self._file = _memory_file()
        self._told, tell = os.pipe()
        command = [sys.executable, "-m", "runtime.isolated", str(self._file), str(tell)]
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._file, tell),
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the parent alone
            )
        except OSError as error:
            os.close(self._told)
            os.close(self._file)
            raise SourceError(f"{self.uri}: no process for it can be started: {error}") from error
        finally:
            os.close(tell)
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead: `read` says so
            self._child.stdin.write(json.dumps([uri, asdict(options)]).encode() + b"\n")
            self._child.stdin.flush()

    def read(self) -> Frame | None:
        """Return a frame newer than the last, None at the end; SourceError when it fails."""
        while True:
            told = os.read(self._told, 65536)
            if _FAILED in told:
                raise self._failure(told.partition(_FAILED)[2])
            frame = self._newest() if _FRAME in told else None
            if frame is not None:
                return frame
            if _END in told:
                return None
            if not told:
                raise SourceError(f"{self.uri}: the process that reads it died{self._fate()}")

    def interrupt(self) -> None:
        """Kill the process; `read` then raises."""
        self._child.kill()

    def close(self) -> None:
        """Kill the process and free what it shared."""
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_REAP_S)
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        if self._memory is not None:
            self._memory.close()
        os.close(self._told)
        os.close(self._file)

    def _newest(self) -> Frame | None:
        if self._memory is None:
            self._map()
        assert self._memory is not None
        memory = self._memory
        slot_bytes = (len(memory) - mmap.PAGESIZE) // _SLOTS
        while True:
            (sequence,) = _NEWEST.unpack_from(memory)
            if sequence == self._seen:
                return None
            start = mmap.PAGESIZE + sequence % _SLOTS * slot_bytes
            before, after, captured_ns, index, *shape = _HEAD.unpack_from(memory, start)
            if before == after == sequence:
                image = self._copy(start + _HEAD_BYTES, tuple(shape if shape[2] else shape[:2]))
                if _NEWEST.unpack_from(memory, start)[0] == sequence:
                    self._seen = sequence
                    return Frame(image, index, captured_ns, f"frame {index}")

    def _copy(self, start: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        assert self._memory is not None
        free = self._pool.free()
        image = np.empty(shape, np.uint8) if free is None or free.shape != shape else free
        # The view ends here: one that lives on would keep the memory from being closed.
        np.copyto(image, np.ndarray(shape, np.uint8, self._memory, start))
        self._pool.keep(image)
        return image

    def _map(self) -> None:
        self._memory = mmap.mmap(self._file, 0)
        facts = json.loads(self._memory[_HEAD_BYTES : mmap.PAGESIZE].rstrip(b"\0"))
        self.fps, self.count = facts["fps"], facts["count"]

    def _failure(self, told: bytes) -> EdgeError:
        while more := os.read(self._told, 65536):
            told += more
        facts = json.loads(told)
        return (MissingError if facts["missing"] else SourceError)(facts["message"])

    def _fate(self) -> str:
        try:
            code = self._child.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return ""
        return f", killed by signal {-code}" if code < 0 else f" with exit code {code}"


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class _Shared:
    """The child's side of the shared memory, made for frames of the size of the first."""

    def __init__(self, file: int, source: Source, first: Frame) -> None:
        self._size = first.image.nbytes
        self._slot_bytes = -(-(_HEAD_BYTES + self._size) // mmap.PAGESIZE) * mmap.PAGESIZE
        os.ftruncate(file, mmap.PAGESIZE + _SLOTS * self._slot_bytes)
        self._memory = mmap.mmap(file, 0)
        facts = json.dumps({"fps": source.fps, "count": source.count}).encode()
        self._memory[_HEAD_BYTES : _HEAD_BYTES + len(facts)] = facts
        self._sequence = 0

    def put(self, frame: Frame) -> None:
        """Overwrite the oldest frame; ValueError for a frame larger than the first."""
        image = np.ascontiguousarray(frame.image)
        if image.nbytes > self._size:
            raise ValueError(f"the frames grew to {image.shape[1]} x {image.shape[0]}")
        self._sequence += 1
        start = mmap.PAGESIZE + self._sequence % _SLOTS * self._slot_bytes
        shape = (*image.shape, 0)[:3]
        head = (frame.captured_ns, frame.index, *shape)
        _HEAD.pack_into(self._memory, start, self._sequence, 0, *head)
        data = np.frombuffer(self._memory, np.uint8, image.nbytes, start + _HEAD_BYTES)
        data[:] = image.reshape(-1)
        _HEAD.pack_into(self._memory, start, self._sequence, self._sequence, *head)
        _NEWEST.pack_into(self._memory, 0, self._sequence)


def _send(uri: str, options: SourceOptions, file: int, tell: int) -> None:
    """Read the source to its end, its newest frames into the shared memory."""
    source = connect(uri, options)
    if not source.live:
        raise SourceError(f"{source.uri}: is a file, which loses no frame; leave out isolate")
    shared: _Shared | None = None
    os.set_blocking(tell, False)
    while (frame := source.read()) is not None:
        shared = shared or _Shared(file, source, frame)
        shared.put(frame)
        with contextlib.suppress(BlockingIOError):  # enough bytes wait there already
            os.write(tell, _FRAME)


def _die_with_parent() -> None:
    """End this process when its input does, and on Linux even while it hangs in C."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main(file: int, tell: int) -> None:
    """Be the child: send frames until killed, or say why there are none."""
    uri, fields = json.loads(sys.stdin.buffer.readline())
    policy = fields["policy"] and Policy(**fields["policy"])
    _die_with_parent()
    last = _END
    try:
        _send(uri, SourceOptions(**{**fields, "policy": policy}), file, tell)
    except Exception as error:  # noqa: BLE001 - whatever it fails with, the parent says so
        known = isinstance(error, EdgeError)
        text = str(error) if known else f"{redacted(uri)}: {error!r}"
        facts = {"missing": isinstance(error, MissingError), "message": redacted(text)}
        last = _FAILED + json.dumps(facts).encode()
    os.set_blocking(tell, True)
    os.write(tell, last)
    # Not the usual way out: a source that failed may hang when it is closed.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
