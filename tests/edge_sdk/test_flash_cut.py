"""An agent that is killed while what runs is ending for its switch: that runs again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runtime.agent.release import Health
from runtime.host import host
from tests.edge_sdk.refusal_cases import standing_in, within
from tests.edge_sdk.test_flash_recovery import Flash, alive, holder, settled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        host().arch != "x86_64", reason="the bundles of these tests are for generic-x86"
    ),
]


def test_what_was_ending_runs_again(tmp_path: Path) -> None:
    with standing_in(tmp_path) as standing:
        before = standing.seen()
        assert before.pid is not None and before.link is not None
        os.kill(before.pid, signal.SIGSTOP)  # it does not end when it is told to
        flash = Flash(standing, standing.good("cut", 40), Health(2, 30))
        flash.start()
        within(30, lambda: standing.device.state()["trial"] is not None)
        os.kill(holder(standing)[1], signal.SIGKILL)
        assert "it goes on by itself" in flash.ended()
        assert standing.device.layout.current_id() == before.link
        within(60, lambda: not alive(before.pid or 0))
        within(30, lambda: standing.device.shown() is not None)
        settled(standing)
        after = standing.seen()
        assert (after.link, after.current) == (before.link, before.link)
        assert after.pid != before.pid
