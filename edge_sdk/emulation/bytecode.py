"""Python modules compiled beforehand: an emulated Python takes 60 times as long to do it.

Bytecode depends on Python's minor version and on nothing of the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from runtime.progress import step
from runtime.wheel_file import TESTS


def compile_modules(place: Path, python: str) -> None:
    """Compile the modules below `place`, which never change, for a Python such as `3.11`.

    By this Python where it is the same, else by `python3.11` of PATH; where there is none nothing
    is done, and the emulated one keeps what it compiles as it goes.
    """
    ours = "{}.{}".format(*sys.version_info[:2])
    program = sys.executable if ours == python else shutil.which(f"python{python}")
    if program is None or not place.is_dir():  # a system need not have packages of its own
        return
    step("compiling the device's Python modules")
    # Not checked at import, which saves looking at the sources. What does not compile (there are
    # templates, and code of Python 2) is left to whoever imports it.
    options = ["-q", "-q", "-x", TESTS.pattern, "--invalidation-mode", "unchecked-hash", "-j", "0"]
    subprocess.run(
        [program, "-E", "-s", "-m", "compileall", *options, "."],
        cwd=place,  # what is left out is so for its name in there
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        check=False,
    )
