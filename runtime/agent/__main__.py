"""The agent's commands, of which each takes the folder of the installation.

For a host: session, status, rollback, logs, uninstall. For the device: guard, serve, finish, boot,
supervise, stop. Started as `python3 -IS ROOT/agent/agent.py COMMAND ROOT`; prints JSON lines.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from device_profiles.errors import EdgeError, RequestError
from runtime.agent.layout import Layout
from runtime.agent.wire import Wire

_FAULT = 70
"""EX_SOFTWARE of sysexits.h, as for the command line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    os.umask(0o022)
    wire = Wire(sys.stdout)
    try:
        command, root, *more = words
        if command not in COMMANDS:
            raise RequestError(f"the agent has no command {command!r}")
        answer = COMMANDS[command](Layout(Path(os.path.abspath(root))), wire, more)
    except EdgeError as error:
        wire.put({"error": str(error), "code": error.exit_code})
        return error.exit_code
    except ValueError as error:
        wire.put({"error": f"the agent was called wrongly: {error}", "code": 2})
        return 2
    except Exception as error:  # noqa: BLE001 - told, and not taken for a refusal, which is 1
        traceback.print_exc()
        wire.put(
            {"error": f"a fault of the agent, {type(error).__name__}: {error}", "code": _FAULT}
        )
        return _FAULT
    if answer is not None:
        wire.put({"answer": answer})
    return 0


def _session(layout: Layout, wire: Wire, _more: Sequence[str]) -> None:
    from runtime.agent.session import converse

    converse(layout, sys.stdin.buffer, wire)


def _status(layout: Layout, _wire: Wire, _more: Sequence[str]) -> Mapping[str, Any]:
    from runtime.agent.resident import python
    from runtime.agent.status import status

    return status(layout, python())


def _rollback(layout: Layout, wire: Wire, _more: Sequence[str]) -> Mapping[str, Any]:
    from runtime.agent import trial
    from runtime.agent.install import Installation
    from runtime.agent.state import load

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with layout.alone():
        state = trial.settled(layout, load(layout))
        return Installation(layout, state, wire.say).back().to_json()


def _logs(layout: Layout, _wire: Wire, more: Sequence[str]) -> Sequence[str]:
    from runtime.agent.resident import python
    from runtime.agent.services import Place, service_of

    return service_of(Place(layout.root, python())).log(int(more[0]) if more else 100)


def _uninstall(layout: Layout, _wire: Wire, _more: Sequence[str]) -> Mapping[str, Any]:
    from runtime.agent.uninstall import uninstall

    return uninstall(layout)


def _guard(layout: Layout, _wire: Wire, _more: Sequence[str]) -> None:
    from runtime.agent.recover import guard

    guard(layout)


def _serve(layout: Layout, _wire: Wire, _more: Sequence[str]) -> None:
    from runtime.agent.resident import python
    from runtime.agent.serve import serve

    serve(layout, python())


def _finish(layout: Layout, wire: Wire, _more: Sequence[str]) -> None:
    from runtime.agent.recover import finish

    finish(layout, wire.say)


def _boot(layout: Layout, wire: Wire, _more: Sequence[str]) -> None:
    from runtime.agent.recover import boot

    boot(layout, wire.say)


def _supervise(layout: Layout, _wire: Wire, _more: Sequence[str]) -> None:
    from runtime.agent.resident import python
    from runtime.agent.services import Place
    from runtime.agent.supervise import supervise

    supervise(Place(layout.root, python()))


def _stop(layout: Layout, _wire: Wire, _more: Sequence[str]) -> None:
    from runtime.agent.resident import python
    from runtime.agent.services import Place, service_of

    service_of(Place(layout.root, python())).stop()


COMMANDS: Mapping[str, Callable[[Layout, Wire, Sequence[str]], Any]] = {
    "session": _session,
    "status": _status,
    "rollback": _rollback,
    "logs": _logs,
    "uninstall": _uninstall,
    "guard": _guard,
    "serve": _serve,
    "finish": _finish,
    "boot": _boot,
    "supervise": _supervise,
    "stop": _stop,
}

if __name__ == "__main__":
    sys.exit(main())
