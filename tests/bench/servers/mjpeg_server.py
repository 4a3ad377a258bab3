"""An MJPEG camera with a clock in its pixels: `http://127.0.0.1:PORT/`, 720p30.

python mjpeg_server.py PORT     prints `up` when it serves; PORT 0 is any, printed too
"""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from runtime.pixel_clock import draw_clock

WIDTH, HEIGHT, FPS = 1280, 720, 30


class Camera:
    """Encodes once, however many watch; each gets the newest picture when it is ready for one."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.number, self.picture = 0, b""

    def run(self) -> None:
        ramp = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 220
        still = cv2.cvtColor(ramp.astype(np.uint8), cv2.COLOR_GRAY2BGR)
        due = time.monotonic()
        while True:
            picture = still.copy()
            left = self.number * 8 % (WIDTH - 200)
            picture[HEIGHT // 2 : HEIGHT // 2 + 100, left : left + 200] = 200
            draw_clock(picture, time.monotonic_ns())
            jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
            with self.changed:
                self.number, self.picture = self.number + 1, jpeg
                self.changed.notify_all()
            due = max(due + 1 / FPS, time.monotonic() - 1 / FPS)
            time.sleep(max(0.0, due - time.monotonic()))


CAMERA = Camera()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        seen = 0
        while True:
            with CAMERA.changed:
                CAMERA.changed.wait_for(lambda last=seen: CAMERA.number != last)
                seen, jpeg = CAMERA.number, CAMERA.picture
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return

    def log_message(self, *_args: object) -> None:
        """Say nothing of every request."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main(port: int) -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=CAMERA.run, daemon=True).start()
    server = Server(("127.0.0.1", port), Handler)
    print("up", server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
