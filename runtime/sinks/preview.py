"""Sink: a web page of the run, `http://127.0.0.1:8080` (port 0: any free one).

Options: width (pixels of the pictures at most), quality (of their JPEG, 1 to 100), token. Another
address than this machine's own serves the network and needs `?token=SECRET`.

    /               the page                    /status.json   the state of the run
    /stream.mjpg    annotated pictures          /metrics       the same for Prometheus
    /snapshot.jpg   the newest one              /health        200, or 503 with the reasons
    /results        server-sent events: every record, and `status` once a second
"""

from __future__ import annotations

import dataclasses
import logging

from runtime.frame import Frame
from runtime.opencv import opencv
from runtime.sinks.base import SinkContext, Stamp
from runtime.tasks.base import Result

_LOG = logging.getLogger("edge_sdk.preview")


def accepts(uri: str) -> bool:
    """Say whether `uri` is a web address."""
    return uri.startswith(("http://", "https://"))


def open_sink(uri: str, context: SinkContext) -> Preview:
    """Start to serve; OutputError when the address is wrong, unsafe or taken."""
    return Preview(uri, context)


class Preview:
    """Serves the newest results at `url`; nobody is waited for, nothing made that nobody asks for.

    It keeps the newest frame of each source, which must not be written over.
    """

    newest = True

    def __init__(self, uri: str, context: SinkContext) -> None:
        # A web server takes a device a tenth of a second to import: only for who wants one.
        from runtime.sinks._preview.address import read_address
        from runtime.sinks._preview.feed import Feed
        from runtime.sinks._preview.server import Server

        opencv()
        address = read_address(uri)
        self._feed = Feed(context, address.look)
        self._server = Server(address, self._feed)
        self.url = dataclasses.replace(address, port=self._server.server_port).url
        _LOG.info("preview at %s", self.url, extra={"event": "preview_open", "url": self.url})

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Show one result to those who watch."""
        self._feed.put(frame, result, stamp)

    def close(self) -> None:
        """Tell those who watch that the run is over, and stop to serve."""
        self._server.close()
