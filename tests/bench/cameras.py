"""Cameras to measure and to break: real servers in processes of their own, and a camera of a file.

A camera freezes (its process is stopped, its connections stay open), thaws, is killed and comes
back at the same address. The one of a file stands in for V4L2: `PluggedCapture` takes the place of
`cv2.VideoCapture`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.pixel_clock import draw_clock

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).resolve().parent / "servers"
SYSTEM_PYTHON = "/usr/bin/python3"  # it has the bindings of GStreamer
START_S = 20.0


def missing_for_rtsp() -> str:
    """Return why the RTSP server cannot run here, empty when it can."""
    code = "import gi, numpy; gi.require_version('GstRtspServer', '1.0'); "
    code += "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    code += "assert Gst.ElementFactory.find('x264enc'), 'no x264enc'"
    try:
        done = subprocess.run(
            [SYSTEM_PYTHON, "-c", code], check=False, capture_output=True, text=True
        )
    except OSError as error:
        return str(error)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


class Server:
    """A camera server, up when it is made, at one address for as long as it is used."""

    def __init__(self, kind: str) -> None:
        self._command = {
            "rtsp": [SYSTEM_PYTHON, str(SERVERS / "rtsp_server.py")],
            "mjpeg": [sys.executable, str(SERVERS / "mjpeg_server.py")],
        }[kind]
        self._port = free_port()
        path = {"rtsp": "rtsp://127.0.0.1:{}/cam", "mjpeg": "http://127.0.0.1:{}/"}[kind]
        self.uri = path.format(self._port)
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start the server and wait until it serves."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._process = subprocess.Popen(
            [*self._command, str(self._port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("up"):
            self.kill()
            raise RuntimeError(f"{self._command[1]} does not start")

    def freeze(self) -> None:
        """Stop the process: its connections stay open and say nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process: its connections are closed, further ones refused."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Plug:
    """A USB camera of a file: it gives the file's frames at a pace while it is plugged in.

    Pulled out, `read` fails as V4L2's does, and opening too; hung, `read` waits for the thaw.
    """

    def __init__(self, path: Path, fps: float = 30.0, clock: bool = True) -> None:
        capture = cv2.VideoCapture(str(path))
        self.images: list[NDArray[np.uint8]] = []
        while len(self.images) < fps:
            ok, image = capture.read()
            if not ok:
                break
            self.images.append(image)
        capture.release()
        self.fps, self.clock = fps, clock
        self.plugged, self.flows = threading.Event(), threading.Event()
        self.plugged.set()
        self.flows.set()
        self.opened = 0  # and not released

    def freeze(self) -> None:
        self.flows.clear()

    def thaw(self) -> None:
        self.flows.set()

    def kill(self) -> None:
        self.plugged.clear()

    def start(self) -> None:
        self.plugged.set()

    def capture(self, device: int | str, backend: int = 0) -> PluggedCapture:
        """Open it, as `cv2.VideoCapture` does."""
        return PluggedCapture(self)


class PluggedCapture:
    """What OpenCV's capture of a V4L2 camera does, as far as a source uses it."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug
        self._open = plug.plugged.is_set()
        plug.opened += self._open
        self._due, self._index, self._stamp_ns = time.monotonic(), 0, 0

    def isOpened(self) -> bool:
        return self._open

    def set(self, key: int, value: float) -> bool:
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return self._stamp_ns / 1e6
        return self._plug.fps if key == cv2.CAP_PROP_FPS else 0.0

    def read(self, image: Any = None) -> tuple[bool, Any]:
        plug = self._plug
        self._due = max(self._due + 1 / plug.fps, time.monotonic() - 1 / plug.fps)
        time.sleep(max(0.0, self._due - time.monotonic()))
        # V4L2's own time limit, `OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT`.
        flows = plug.flows.wait(2.0)
        if not (flows and plug.plugged.is_set()):
            return False, None
        self._index += 1
        self._stamp_ns = time.monotonic_ns()
        picture = plug.images[self._index % len(plug.images)]
        if image is None or image.shape != picture.shape:
            image = picture.copy()
        else:
            np.copyto(image, picture)
        if plug.clock:
            draw_clock(image, self._stamp_ns)
        return True, image

    def release(self) -> None:
        self._plug.opened -= self._open
        self._open = False


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
