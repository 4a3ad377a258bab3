"""A flash as the device sees it: requests and answers, a JSON line each, under one lock.

    {"do": "hello"}                                    -> what the device is and runs
    {"do": "offer", "release": TEXT, "wheels": [...]}  -> what is to be sent
    {"do": "install", ...}                             -> the new state
    {"do": "pin", "line": TEXT}                        -> the key

In between come lines {"step": ..., "state": ...}. A request that cannot be done is answered by
{"error": ..., "code": ...}, and the next may come. When nobody listens any more, what is being
installed goes on to its end, good or bad.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from device_profiles.errors import EdgeError, RequestError
from runtime.agent import trial
from runtime.agent.facts import facts, free_bytes
from runtime.agent.install import Installation, Ways
from runtime.agent.layout import Layout
from runtime.agent.release import Release
from runtime.agent.stage import Offer, receive
from runtime.agent.state import load
from runtime.agent.trust import Pins
from runtime.agent.wire import Wire
from runtime.manifest import FileEntry

MOST_BYTES = 8 << 20
"""Of one request: a release's text and the list of its wheels take some kilobytes."""


def converse(layout: Layout, requests: IO[bytes], wire: Wire) -> None:
    """Hold the lock and do what is asked for until there are no more requests.

    ReleaseError where another flash is at work.
    """
    for number in (signal.SIGHUP, signal.SIGPIPE):  # of a connection that was cut
        signal.signal(number, signal.SIG_IGN)
    with layout.alone():
        talk = _Talk(layout, wire)
        while line := requests.readline(MOST_BYTES):
            try:
                answer = talk.answer(json.loads(line))
            except EdgeError as error:
                wire.put({"error": str(error), "code": error.exit_code})
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                wire.put({"error": f"a request was not understood: {error!r}", "code": 2})
            else:
                wire.put({"answer": answer})


class _Talk:
    """One flash: what was offered is what can be installed."""

    def __init__(self, layout: Layout, wire: Wire) -> None:
        self._layout = layout
        state = trial.settled(layout, load(layout))
        self._here = Installation(layout, state, wire.say)
        self._offer: Offer | None = None

    def answer(self, request: Mapping[str, Any]) -> Any:
        """Do what is asked for and return the answer."""
        known = {"hello": self._hello, "offer": self._offered, "install": self._install,
                 "pin": self._pin}  # fmt: skip
        if request["do"] not in known:
            raise RequestError(f"this agent cannot {request['do']!r}; flash with its edge-sdk")
        return known[request["do"]](request)

    def _hello(self, _request: Mapping[str, Any]) -> Any:
        here = facts()
        return {
            "facts": {**asdict(here), "features": sorted(here.features)},
            "free": free_bytes(self._layout.root),
            "state": self._here.state.to_json(),
            "service": self._here.service.name,
        }

    def _offered(self, request: Mapping[str, Any]) -> Any:
        release = Release.from_bytes(str(request["release"]).encode())
        wheels = tuple(FileEntry(w["path"], w["sha256"], w["size"]) for w in request["wheels"])
        signature = str(request.get("signature", "")).encode()
        offer = Offer(release, wheels, signature, bool(request.get("allow_downgrade")))
        wanted = receive(self._layout, self._here.state, offer)
        self._offer = offer
        return wanted.to_json()

    def _install(self, request: Mapping[str, Any]) -> Any:
        if self._offer is None:
            raise RequestError("nothing was offered to be installed")
        words = tuple(map(str, request.get("shadow", ())))
        ways = Ways(self._offer.allow_downgrade, words)
        return self._here.install(self._offer.release, ways).to_json()

    def _pin(self, request: Mapping[str, Any]) -> Any:
        key = Pins(self._layout.keys).pin(str(request["line"]))
        return {"key": key.id, "name": key.name}
