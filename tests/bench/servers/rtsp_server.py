"""An RTSP camera with a clock in its pixels: `rtsp://127.0.0.1:PORT/cam`, H.264, 720p30.

    /usr/bin/python3 rtsp_server.py PORT     prints `up` when it serves; PORT 0 is any, printed too

It needs Debian's python3-gi, python3-numpy, gir1.2-gst-rtsp-server-1.0 and
gstreamer1.0-plugins-{base,good,ugly}. A key frame comes every second, as from most cameras.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - only after require_version

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from runtime.pixel_clock import draw_clock  # noqa: E402 - only after the path is set

WIDTH, HEIGHT, FPS = 1280, 720, 30
LAUNCH = (
    "( appsrc name=src is-live=true do-timestamp=true format=time "
    f"caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 ! "
    f"x264enc tune=zerolatency speed-preset=ultrafast key-int-max={FPS} bitrate=4000 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def backdrop() -> np.ndarray:
    """Return an I420 picture: a diagonal ramp of luma, no colour."""
    picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    picture[:HEIGHT] = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 220
    return picture


class Factory(GstRtspServer.RTSPMediaFactory):
    def __init__(self) -> None:
        super().__init__()
        self.set_shared(True)

    def do_create_element(self, _url: object) -> object:
        return Gst.parse_launch(LAUNCH)

    def do_configure(self, media: object) -> None:
        source = media.get_element().get_by_name_recurse_up("src")
        threading.Thread(target=self.feed, args=(source,), daemon=True).start()

    def feed(self, source: object) -> None:
        still = backdrop()
        due, index = time.monotonic(), 0
        while True:
            picture = still.copy()
            left = index * 8 % (WIDTH - 200)
            picture[HEIGHT // 2 : HEIGHT // 2 + 100, left : left + 200] = 200
            draw_clock(picture[:HEIGHT], time.monotonic_ns())
            buffer = Gst.Buffer.new_wrapped(picture.tobytes())
            if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return
            index += 1
            due = max(due + 1 / FPS, time.monotonic() - 1 / FPS)
            time.sleep(max(0.0, due - time.monotonic()))


def main(port: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/cam", Factory())
    server.attach(None)
    print("up", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1])
