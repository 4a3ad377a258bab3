"""Tell what a device has, as JSON, and clear what was not used there for a week.

Argument: the folder that is kept there, absolute or in the user's home.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import time

WEEK_S = 7 * 24 * 3600


def main() -> None:
    """Make the folder, clear it and print the facts."""
    root = os.path.join(os.path.expanduser("~"), os.path.expanduser(sys.argv[1]))
    for kind in ("code", "files"):
        folder = os.path.join(root, kind)
        os.makedirs(folder, 0o700, exist_ok=True)
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if time.time() - os.stat(path).st_mtime > WEEK_S:
                shutil.rmtree(path, ignore_errors=True)
    facts = {
        "root": os.path.realpath(root),
        "version": list(sys.version_info[:2]),
        "numpy": importlib.util.find_spec("numpy") is not None,
        "rsync": shutil.which("rsync") is not None,
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")
