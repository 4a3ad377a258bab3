"""Run this Python with other arguments, and end it when nobody is there any more.

Arguments: the folder to run in, which goes before PYTHONPATH too; how many variables follow, and
those (`NAME=value`); then Python's own. sshd leaves a process alone when its connection ends; this
one does not. A process that a signal ended gives 128 + n, as shells do, which ssh hands on; of
signals it tells nothing. Only modules that Python has loaded anyway, or built in, are imported.
"""

from __future__ import annotations

import _thread
import os
import select
import sys
import time

SIGINT, SIGKILL = 2, 9
GRACE_S = 5.0


def watch(child: int, alone: list[bool]) -> None:
    """Wait until nobody can read what is written, and end the child, as Ctrl-C does: files that it
    writes are closed. What is still there of the group then, or soon after, is killed.

    With no events asked for, poll returns on the other end's close alone (poll(2), POLLERR and
    POLLHUP). sshd puts each command in a group of its own.
    """
    output = select.poll()
    output.register(1, 0)
    output.poll()
    alone.append(True)
    os.kill(child, SIGINT)
    time.sleep(GRACE_S)
    os.killpg(0, SIGKILL)


def main(folder: str, count: str, *words: str) -> int:
    """Run and return the exit code."""
    given, arguments = words[: int(count)], words[int(count) :]
    theirs = [path for path in [os.environ.get("PYTHONPATH")] if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *theirs])
    for word in given:
        name, _, value = word.partition("=")
        os.environ[name] = value
    os.chdir(folder)  # with -m, Python looks there first
    child = os.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, *arguments])
    alone: list[bool] = []
    _thread.start_new_thread(watch, (child, alone))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if alone:
        os.killpg(0, SIGKILL)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))
