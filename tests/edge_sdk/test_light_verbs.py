"""Verbs that ask a device start without numpy, whose import takes longer than their answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT = """
import sys
sys.modules["numpy"] = None
from edge_sdk.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("verb", ["status", "rollback", "logs", "uninstall"])
def test_a_verb_that_asks_needs_no_numpy(verb: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", _WITHOUT, verb, "--to", f"local:{tmp_path}/none"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "nothing was flashed" in done.stderr) == (1, True), done.stderr
