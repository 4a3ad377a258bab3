"""An engine in a process of its own: it may crash, hang or be poisoned and takes only itself along.

Arrays travel through memory that both processes map, small messages (JSON) through a socket that
keeps them apart. Nothing in the child blocks the parent for longer than stated, and the child ends
with its parent, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from device_profiles.errors import EdgeError, EngineError, MissingError
from runtime.arena import Arena, Layout, end_of, memory
from runtime.deaths import last_words, signal_name
from runtime.engines import Array, Engine, EngineOptions, open_engine
from runtime.engines._check import check_inputs, sample_inputs
from runtime.manifest import TensorSpec

PATIENCE_S = 60.0
"""How long an answer is waited for where nothing else is said: a Coral takes some seconds when its
firmware has to be loaded, a Zero's Python as many to start."""

KEPT = 64
"""How many of its last runs a worker keeps the times of."""

_FAREWELL_S = 2.0  # for an idle child to free what it holds and to end by itself
_MESSAGE = 1 << 18  # more than the kernel lets through in one piece (net.core.wmem_default)
_TAIL = 4096
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from runtime.worker import serve; serve(*map(int, sys.argv[2:]))"
)


class Worker:
    """An engine that runs in a child process; it is one itself.

    `load_s` bounds the wait until the model is loaded, `run_s` that for a run. `times_ms` are the
    last runs: as seen from here, and inside the child. `placement` says where the nodes are, for
    engines that tell. `run` may be called from one thread at a time, `kill` from any. Whatever
    goes wrong is an EngineError that says what did, or a MissingError for a package; after a crash
    or a hang the worker is closed.
    """

    def __init__(
        self, engine: str, model: bytes, options: EngineOptions, load_s: float | None = None
    ) -> None:
        self.name, self.provider = engine, options.provider
        self.run_s = PATIENCE_S
        self.times_ms: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._said = b""
        self._socket, self._arena, self._process = _spawn(engine, model)
        self._listener = threading.Thread(target=self._listen, name="worker-output", daemon=True)
        self._listener.start()
        try:
            request = {"engine": engine, "options": asdict(options)}
            patience_s = PATIENCE_S if load_s is None else load_s
            facts = self._ask(request, patience_s, "loaded the model")
        except BaseException:
            self._end(0.0)
            raise
        self.version, self.provider = str(facts["version"]), str(facts["provider"])
        self.placement: Mapping[str, int] = facts["placement"]
        self.inputs, self.outputs = (
            tuple(TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in facts[side])
            for side in ("inputs", "outputs")
        )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once. Arrays must have the dtype and shape of `inputs`; EngineError otherwise."""
        check_inputs(self.name, self.inputs, inputs)
        start = time.perf_counter()
        self._require_open()
        answer = self._ask({"inputs": self._arena.put(inputs)}, self.run_s, "ran")
        outputs = [array.copy() for array in self._arena.get(answer["outputs"])]
        self.times_ms.append((1e3 * (time.perf_counter() - start), float(answer["ms"])))
        return outputs

    def close(self) -> None:
        """End the child; it may free what it holds first."""
        self._end(_FAREWELL_S)

    def kill(self) -> None:
        """End the child at once; whoever waits for it gets an EngineError."""
        self._process.kill()

    def _require_open(self) -> None:
        if self._socket.fileno() < 0:
            raise EngineError(f"the {self.name} worker is closed; open it again")

    def _listen(self) -> None:
        """Keep the last words of the child: what libraries print often says why they fail."""
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while part := os.read(pipe.fileno(), _TAIL):
                self._said = (self._said + part)[-_TAIL:]

    def _ask(self, message: Mapping[str, Any], patience_s: float, doing: str) -> dict[str, Any]:
        """Send `message` and return the answer; EngineError when there is none in time."""
        where = f"{self.name} on {self.provider}"
        try:
            self._socket.settimeout(patience_s)
            self._socket.send(json.dumps(message).encode())
            data = self._socket.recv(_MESSAGE)
        except TimeoutError:
            self._end(0.0)
            raise EngineError(
                f"{where} did not end within {patience_s:.3g} s when it {doing}{self._words()}; "
                "see that the device answers and that the model is right for it"
            ) from None
        except OSError:  # the child ended, and has its own words for it
            data = b""
        except BaseException:  # its answer would be taken for that to the next question
            self._end(0.0)
            raise
        if not data:
            raise EngineError(
                f"{where} {self._fate()} when it {doing}{self._words()}; see that device, driver "
                "and libraries fit each other, or get the model again"
            )
        answer: dict[str, Any] = json.loads(data)
        if answer.get("ends"):
            self._end(_FAREWELL_S)
        if "error" in answer:
            if answer.get("missing"):
                raise MissingError(answer["error"])
            raise EngineError(f"{answer['error']}{self._words()}")
        return answer

    def _fate(self) -> str:
        code = self._end(_FAREWELL_S)
        return f"ended with code {code}" if code >= 0 else f"crashed ({signal_name(-code)})"

    def _words(self) -> str:
        return last_words(self._said)

    def _end(self, patience_s: float) -> int:
        """Close everything and return the child's code, negative for the signal it died of."""
        self._socket.close()
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                code = self._process.wait(_FAREWELL_S)
            except subprocess.TimeoutExpired:  # it hangs in the kernel, where no signal reaches it
                code = -signal.SIGKILL
        self._listener.join(_FAREWELL_S)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._arena.close()
        return code


def try_out(engine: str, model: bytes, options: EngineOptions) -> None:
    """Load and run `model` once, on noise, in a child process; EngineError unless that ends well.

    For a model that nobody vouches for, before it is opened in our own process.
    """
    worker = Worker(engine, model, options)
    try:
        worker.run(sample_inputs(worker.inputs))
    finally:
        worker.close()


def open_tried(engine: str, model: bytes, options: EngineOptions) -> Engine:
    """Open a model in our own process, after it was tried out in another; raises as both do."""
    try_out(engine, model, options)
    return open_engine(engine, model, replace(options, alone=True))


def _spawn(engine: str, model: bytes) -> tuple[socket.socket, Arena, subprocess.Popen[bytes]]:
    """Start a child that gets `model`; EngineError when the system does not let us."""
    with ExitStack() as kept:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kept.callback(ours.close)
            with theirs, memory() as file:
                arena = Arena(memory())
                kept.callback(arena.close)
                file.write(model)
                fds = (theirs.fileno(), file.fileno(), arena.file.fileno())
                process = subprocess.Popen(
                    # It finds modules where we do.
                    [sys.executable, "-c", _CHILD, json.dumps(sys.path), *map(str, fds)],
                    stdin=subprocess.PIPE,  # its end tells the child that we are gone
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=fds,
                )
        except OSError as error:
            raise EngineError(
                f"cannot start a process for {engine} ({error.strerror}); see the limits on "
                "processes, open files and memory"
            ) from error
        kept.pop_all()
    return ours, arena, process


def serve(socket_fd: int, model_fd: int, arena_fd: int) -> None:
    """Be the child: load the model that lies in one file and run it on arrays in the other."""
    _end_with_parent()
    # One Ctrl-C reaches every process of a terminal, one `systemctl stop` all of a service; it is
    # the parent that decides what is still finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are foreseen: no files full of them
    with socket.socket(fileno=socket_fd) as channel:
        arena = Arena(os.fdopen(arena_fd, "r+b", buffering=0))
        request = json.loads(channel.recv(_MESSAGE))
        options = EngineOptions(**{**request["options"], "alone": True})
        with os.fdopen(model_fd, "rb") as file:
            file.seek(0)
            model = file.read()
        try:
            engine = open_engine(request["engine"], model, options)
        except EdgeError as error:
            lacks = isinstance(error, MissingError)
            _send(channel, {"error": str(error), "ends": True, "missing": lacks})
            return
        del model
        _send(channel, _facts(engine))
        while data := channel.recv(_MESSAGE):
            _send(channel, _answer(engine, arena, json.loads(data)["inputs"]))
        engine.close()


def _facts(engine: Any) -> dict[str, Any]:
    def specs(tensors: Sequence[TensorSpec]) -> list[Any]:
        return [(t.name, t.dtype, t.shape) for t in tensors]

    return {
        "version": engine.version,
        "provider": engine.provider,
        "placement": getattr(engine, "placement", {}),
        "inputs": specs(engine.inputs),
        "outputs": specs(engine.outputs),
    }


def _answer(engine: Any, arena: Arena, layout: Layout) -> dict[str, Any]:
    inputs = arena.get(layout)
    start = time.perf_counter()
    try:
        outputs = engine.run(inputs)
    except EdgeError as error:
        return {"error": str(error)}
    ms = 1e3 * (time.perf_counter() - start)
    # Behind the inputs, of which an output may be a view.
    return {"outputs": arena.put(outputs, after=end_of(layout)), "ms": ms}


def _send(channel: socket.socket, message: Mapping[str, Any]) -> None:
    channel.send(json.dumps(message).encode())


def _end_with_parent() -> None:
    """Let the kernel end this process as soon as its standard input ends.

    SIGIO ends a process that does not handle it, also one that hangs in a driver with Python's
    lock held. Not PR_SET_PDEATHSIG: that fires when the thread ends that started the child.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it ended before we asked
        sys.exit(1)
