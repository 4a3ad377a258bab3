"""Run this Python with other arguments, and end it when nobody is there any more.

Arguments: JSON with the folder to run in, variables, and what goes before PYTHONPATH; then Python's
own. sshd leaves a process alone when its connection ends; this one does not. A process that a
signal ended gives 128 + n, as shells do, which ssh hands on; of signals it tells nothing.
"""

from __future__ import annotations

import _thread
import json
import os
import select
import signal
import sys


def watch() -> None:
    """Wait until nobody can read what is written, and kill the whole group.

    With no events asked for, poll returns on the other end's close alone (poll(2), POLLERR and
    POLLHUP). sshd puts each command in a group of its own.
    """
    output = select.poll()
    output.register(1, 0)
    output.poll()
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Run and return the exit code."""
    given = json.loads(sys.argv[1])
    os.chdir(given["folder"])
    theirs = [path for path in [os.environ.get("PYTHONPATH")] if path]
    os.environ.update(given["env"], PYTHONPATH=os.pathsep.join([given["path"], *theirs]))
    child = os.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
    _thread.start_new_thread(watch, ())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main())
