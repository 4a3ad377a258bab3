"""Files as one stream to a program there, for a device without rsync: a tar archive in gzip."""

from __future__ import annotations

import contextlib
import gzip
import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

Content = tuple[str, "Path | bytes"]
"""A name there, and what it holds."""

CUT = 255
"""ssh's own exit code."""

_LEVEL = 6


class _Counted(io.RawIOBase):
    """Writes on and counts the bytes."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self.count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._sink.write(data)
        self.count += len(data)
        return len(data)


def send(command: Sequence[str], contents: Sequence[Content]) -> tuple[int, bytes, int]:
    """Run a command with the stream as its input; return its exit code, what it said, the bytes."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        counted = _Counted(process.stdin)
        try:
            # A device that gives up closes the pipe; why, it says below.
            with contextlib.suppress(BrokenPipeError), process.stdin:
                _write(counted, contents)
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read()
    return process.returncode, said, counted.count


def _write(sink: _Counted, contents: Sequence[Content]) -> None:
    with (
        gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=_LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in contents:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                continue
            with content.open("rb") as file:
                member.size = content.stat().st_size
                archive.addfile(member, file)
