"""A virtual environment from wheels, made by the device's own Python: no pip, no network.

It is laid out by hand (PEP 405): Debian's Python may lack ensurepip and the module venv, and this
way an environment has the same files everywhere and none that knows where it lies.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import EdgeError, ReleaseError, RequestError
from runtime.agent.layout import DRAFT, remove, sync_folder, unwritable
from runtime.agent.unpacked import Unpacked, find, is_module, note, site_of, take
from runtime.deaths import last_words, signal_of, signal_words
from runtime.lock_text import LockedWheel, LockText, read_lock
from runtime.wheel_file import TESTS, sha256, unpack

COMPLETE = "complete"
_KEY = re.compile(r"[0-9a-f]{32}(-system)?\n?")

_START_S = 300.0
_STARTS = (
    "import sys, numpy, runtime.bundle\n"
    "if sys.prefix == sys.base_prefix: sys.exit('its Python takes the packages of the system')"
)


@dataclass(frozen=True)
class Wanted:
    """An environment: the text of its lock, the folder of the wheels, and the `place` to be.

    A wheel need not be in the folder when another environment beside `place` has it unpacked.
    `python` is the Python that runs this; `system_site` also offers the packages of its system,
    behind the wheels.
    """

    lock_text: str
    wheels: Path
    place: Path
    python: str = sys.executable
    system_site: bool = False


def key(lock_text: str, system_site: bool = False) -> str:
    """Return the name of an environment: the same wheels for the same Python have the same."""
    return read_lock(lock_text).digest[:32] + ("-system" if system_site else "")


def complete(place: Path) -> bool:
    """Say whether an environment is whole, and the Python that it links to is still there."""
    try:
        marked = (place / COMPLETE).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False
    return _KEY.fullmatch(marked) is not None and (place / "bin" / "python").exists()


def held(environments: Path, wheels: Collection[str]) -> dict[str, Unpacked]:
    """Return which wheels, each by its SHA-256, need not be sent: complete environments in the
    folder have them, whole, and a new one takes them from there."""
    if not environments.is_dir():
        return {}
    there = (path for path in sorted(environments.iterdir()) if _KEY.fullmatch(path.name))
    return find(filter(complete, there), wheels)


def build(wanted: Wanted, say: Callable[[str], None]) -> None:
    """Make an environment where there is none that is complete; whole, or not at all.

    `say` is told each step. Raises RequestError for a lock that does not fit this Python, or a
    wheel that is missing or not what its lock says (nothing was written then); ReleaseError when
    the Python of the new environment does not start; OutputError when the disk does not take it.
    """
    lock = read_lock(wanted.lock_text)
    _check_python(lock)
    place = wanted.place.absolute()
    if complete(place):
        return
    here = held(place.parent, [wheel.sha256 for wheel in lock.wheels])
    _check_wheels([w for w in lock.wheels if w.sha256 not in here], wanted.wheels, say)
    draft = place.with_name(f"{DRAFT}{place.name}")
    try:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            remove(draft)
            _fill(draft, wanted, here, say)
            os.sync()  # a rename must not reach the disk before what it names
            remove(place)
            os.rename(draft, place)
            sync_folder(place.parent)
        finally:
            remove(draft)
    except EdgeError:
        raise
    except OSError as error:
        raise unwritable(place.parent, error) from error


def _check_python(lock: LockText) -> None:
    here = "{}.{}".format(*sys.version_info)
    if lock.python != here:
        raise RequestError(
            f"the wheels are for Python {lock.python} and this device has {here}: flash with "
            f"--python {here}"
        )


def _check_wheels(
    wheels: Collection[LockedWheel], folder: Path, say: Callable[[str], None]
) -> None:
    if wheels:
        say(f"verifying {len(wheels)} wheels")
    for wheel in wheels:
        path = folder / wheel.file
        if not path.is_file():
            raise RequestError(f"{wheel.file} was not sent; flash it again")
        if path.stat().st_size != wheel.size or sha256(path) != wheel.sha256:
            raise RequestError(f"{wheel.file} is not what its lock says; flash it again")


def _fill(
    draft: Path, wanted: Wanted, here: Mapping[str, Unpacked], say: Callable[[str], None]
) -> None:
    lock = read_lock(wanted.lock_text)
    site = _lay_out(draft, wanted)
    new: dict[str, Mapping[str, str]] = {}
    for wheel in lock.wheels:
        if wheel.sha256 in here:
            say(f"taking {wheel.name} {wheel.version} from an environment that has it")
            take(here[wheel.sha256], draft)
            continue
        say(f"unpacking {wheel.name} {wheel.version} ({wheel.size / 1e6:.1f} MB)")
        contents = unpack(wanted.wheels / wheel.file, site)
        new[wheel.sha256] = contents.files
        if contents.left_out:
            names = ", ".join(contents.left_out)[:200]
            say(f"left out of {wheel.name}, as nothing here needs it: {names}")
    if new:
        say("compiling its modules")
    for digest, files in new.items():
        _compile(site, files)
        note(draft, digest, files)
    _let_read(draft)
    say("starting its Python")
    _check_start(draft / "bin" / "python", lock)
    name = key(wanted.lock_text, wanted.system_site)
    (draft / COMPLETE).write_text(f"{name}\n", encoding="ascii")
    (draft / COMPLETE).chmod(0o644)


def _lay_out(draft: Path, wanted: Wanted) -> Path:
    """Make an environment without packages, and return where they go."""
    python = wanted.python
    if python == sys.executable:  # which may itself be that of an environment
        python = getattr(sys, "_base_executable", None) or python
    program = os.path.realpath(python)  # not `python3`, which an upgrade lets be another version
    site = site_of(draft)
    site.mkdir(parents=True)
    settings = {
        "home": os.path.dirname(program),
        "include-system-site-packages": "true" if wanted.system_site else "false",
        "version": "{}.{}.{}".format(*sys.version_info),
        "executable": program,
    }
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (draft / "pyvenv.cfg").write_text(text, encoding="utf-8")
    (draft / "bin").mkdir()
    (draft / "bin" / "python").symlink_to(program)
    (draft / "bin" / "python3").symlink_to("python")
    return site


def _compile(site: Path, files: Collection[str]) -> None:
    """Compile the modules among files, but tests: who runs them later may not write here.

    By this process, so that nothing goes on writing when it is killed. Not checked at import, since
    nothing here changes. What does not compile (there are templates) is left to its importer.
    Bytecode that is there already is replaced by a new file, never written into.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about other people's code
        for name in filter(is_module, files):
            if not TESTS.search(f"/{name}"):
                compileall.compile_file(
                    str(site / name),
                    quiet=2,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )


def _let_read(draft: Path) -> None:
    """Let everybody read it: the service runs as somebody else, whatever the umask here.

    Nothing changes of what others have as well: that can be read already.
    """
    for folder, _, files in os.walk(draft):
        os.chmod(folder, 0o755)
        for name in files:
            path = os.path.join(folder, name)
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            wanted = 0o755 if mode & 0o100 else 0o644
            if mode != wanted and not os.path.islink(path):
                os.chmod(path, wanted)


def _check_start(python: Path, lock: LockText) -> None:
    remedy = "see the versions in its lock"
    if lock.system:
        remedy = f"it needs of the system: sudo apt-get install {' '.join(lock.system)}"
    try:
        done = subprocess.run(
            [python, "-I", "-B", "-c", _STARTS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            timeout=_START_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(
            f"the Python of its environment did not start within {_START_S:.0f} s; {remedy}"
        ) from error
    except OSError as error:
        raise ReleaseError(
            f"the Python of its environment does not start: {error.strerror}; {remedy}"
        ) from error
    if done.returncode:
        number = signal_of(done.returncode)
        how = f"crashed with {signal_words(number)}" if number else "does not start"
        said = last_words(done.stderr)
        raise ReleaseError(f"the Python of its environment {how}{said}; {remedy}")
