"""How the agent ends: by what came of a command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import MissingError, OutputError, ReleaseError
from runtime.agent import __main__ as agent


def ended(
    monkeypatch: pytest.MonkeyPatch, words: Sequence[str], fault: Exception | None = None
) -> int:
    def played(*_: Any) -> dict[str, int]:
        if fault is not None:
            raise fault
        return {"a": 1}

    monkeypatch.setattr(agent, "COMMANDS", {"played": played})
    return agent.main(words)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ReleaseError("it does not hold"), 1),
        (OutputError("the disk is full"), 2),
        (MissingError("no OpenSSL"), 3),
        (OSError(5, "Input/output error"), 70),
        (MemoryError(), 70),
    ],
)
def test_only_a_refusal_ends_with_1(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    fault: Exception,
    code: int,
) -> None:
    """A medium is done with when it was judged, and tried again when it was not."""
    assert ended(monkeypatch, ["played", str(tmp_path)], fault) == code
    said = json.loads(capsys.readouterr().out)
    assert (said["code"], str(fault) in said["error"]) == (code, True)


def test_an_answer_and_wrong_calls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert ended(monkeypatch, ["played", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"answer": {"a": 1}}
    for words in ([], ["played"], ["other", str(tmp_path)]):
        assert ended(monkeypatch, words) == 2
