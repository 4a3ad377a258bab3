"""A QEMU and an ssh that only pretend, so that a board's life is tested without either."""

from __future__ import annotations

import sys
from pathlib import Path

from edge_sdk.board.image import Image

# Goes to the background as QEMU does, notes its process and lives until it is killed. A file
# `refuse` beside it makes it fail once, with what is in there.
_QEMU = """#!{python}
import os, sys, time
words = sys.argv
here = os.path.dirname(os.path.abspath(words[0]))
if "help" in words:
    print("Available CPUs:\\n  cortex-a72\\n  cortex-a76")
    sys.exit(0)
refuse = os.path.join(here, "refuse")
if os.path.exists(refuse):
    said = open(refuse).read()
    os.remove(refuse)
    sys.exit(said)
open(os.path.join(here, "started"), "a").write(" ".join(words[1:]) + "\\n")
open("console.log", "a").write("edge: boot\\n")
if os.fork():
    sys.exit(0)
os.setsid()
for descriptor in (0, 1, 2):
    os.close(descriptor)
with open(words[words.index("-pidfile") + 1], "w") as file:
    file.write(f"{{os.getpid()}}\\n")
time.sleep(300)
"""

# Lets everybody in while there is a board; `poweroff` ends it, unless a file `deaf` is there.
_SSH = """#!/bin/sh
folder=$(dirname "$2")
case "$*" in
  *poweroff*) [ -e "$(dirname "$0")/deaf" ] || kill -9 "$(cat "$folder/qemu.pid")";;
  *true*) [ ! -e "$(dirname "$0")/deaf" ];;
  *) echo "$*";;
esac
"""


def write_programs(folder: Path) -> None:
    """Write the two into a folder for PATH."""
    for name, text in (("qemu-system-aarch64", _QEMU.format(python=sys.executable)), ("ssh", _SSH)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def small_image(folder: Path) -> Image:
    """Return an image of a few bytes."""
    folder.mkdir(exist_ok=True)
    for name in ("disk", "kernel", "initrd"):
        (folder / name).write_bytes(name.encode() * 100)
    return Image(folder / "disk", folder / "kernel", folder / "initrd")
