"""The ONNX Runtime engine, which runs on the provider asked for or says why it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from device_profiles.errors import EngineError, missing
from device_profiles.nearest import hint
from runtime.engines._check import check_inputs
from runtime.engines.base import Array, Engine, EngineOptions, Traits
from runtime.manifest import TensorSpec

NAME = "onnxruntime"
TRAITS = Traits(
    packages=("onnxruntime",),
    extra="onnx",
    in_process=("cpu",),
    # TensorRT times its kernels while it loads a model, on a Jetson for minutes.
    patience_s={"tensorrt": 900.0, "openvino": 120.0},
)

# Our provider -> ONNX Runtime's name and its options. TF32 would silently cut fp32 to 11 bits.
PROVIDERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "tensorrt": ("TensorrtExecutionProvider", {}),
    "openvino": ("OpenVINOExecutionProvider", {}),
    "xnnpack": ("XnnpackExecutionProvider", {}),
}

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({t}{b})": f"{t}{b}" for t in ("int", "uint") for b in (8, 16, 32, 64)},
}


def open_engine(model: bytes, options: EngineOptions) -> Engine:
    """Load an ONNX model.

    Raises MissingError without onnxruntime, EngineError when the model does not load or its nodes
    are not placed on the provider asked for.
    """
    return OnnxRuntimeEngine(model, options)


class OnnxRuntimeEngine:
    """A session of ONNX Runtime.

    `metadata` is the model's `metadata_props`. `placement` counts the nodes on each of ONNX
    Runtime's providers; it is empty where an older onnxruntime cannot tell.
    """

    name = NAME

    def __init__(self, model: bytes, options: EngineOptions) -> None:
        ort = _import()
        self.version: str = ort.__version__
        self.provider = options.provider
        asked = _available(ort, options.provider)
        try:
            # Without enable_fallback=0, onnxruntime retries a failure on the CPU by itself.
            self._session: Any = ort.InferenceSession(
                model,
                _session_options(ort, options),
                providers=[(asked, dict(PROVIDERS[options.provider][1]))],
                enable_fallback=0,
            )
        except Exception as error:  # its exceptions share no base class but this
            raise EngineError(f"onnxruntime cannot load the model: {_line(error)}") from error
        self.placement = _placement(self._session)
        _require_provider(self._session.get_providers(), self.placement, asked)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once. Arrays must have the dtype and shape of `inputs`; EngineError otherwise."""
        if self._session is None:
            raise EngineError("the onnxruntime engine is closed; open it again")
        check_inputs(NAME, self.inputs, inputs)
        feeds = {spec.name: array for spec, array in zip(self.inputs, inputs, strict=True)}
        try:
            outputs: list[Array] = self._session.run(None, feeds)
        except Exception as error:
            raise EngineError(f"onnxruntime failed while it ran: {_line(error)}") from error
        return outputs

    def close(self) -> None:
        """Free the session; the engine cannot be used afterwards."""
        self._session = None


def _import() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime", "onnx") from error
    return onnxruntime


def _session_options(ort: ModuleType, options: EngineOptions) -> Any:
    session = ort.SessionOptions()
    session.log_severity_level = 3  # errors
    session.intra_op_num_threads = options.threads
    # Spinning threads win little latency and burn a core that the camera needs.
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What get_provider_graph_assignment_info needs.
    session.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    levels = ort.GraphOptimizationLevel
    # Optimisation is what turns DequantizeLinear, float op, QuantizeLinear into integer kernels.
    optimise = levels.ORT_DISABLE_ALL if options.simulate else levels.ORT_ENABLE_ALL
    session.graph_optimization_level = optimise
    return session


def _available(ort: ModuleType, provider: str) -> str:
    if provider not in PROVIDERS:
        raise EngineError(f"onnxruntime has no provider {provider!r}; {hint(provider, PROVIDERS)}")
    name = PROVIDERS[provider][0]
    built = ort.get_available_providers()
    if name not in built:
        raise EngineError(
            f"this onnxruntime {ort.__version__} is built without {name} (it has "
            f"{', '.join(built)}); install a build that has it, or ask for provider cpu"
        )
    return name


def _placement(session: Any) -> dict[str, int]:
    placement: dict[str, int] = {}
    if hasattr(session, "get_provider_graph_assignment_info"):
        for part in session.get_provider_graph_assignment_info():
            nodes = len(part.get_nodes())
            placement[part.ep_name] = placement.get(part.ep_name, 0) + nodes
    return placement


def _require_provider(active: Sequence[str], placement: Mapping[str, int], asked: str) -> None:
    """Raise EngineError unless the session is on `asked` and, where known, nodes are too."""
    remedy = "see that its driver and libraries are installed, or ask for provider cpu"
    if active[0] != asked:
        raise EngineError(f"onnxruntime silently chose {active[0]} instead of {asked}; {remedy}")
    if placement and not placement.get(asked):
        placed = ", ".join(f"{count} on {name}" for name, count in placement.items())
        raise EngineError(f"onnxruntime placed no node on {asked} ({placed}); {remedy}")


def _spec(node: Any) -> TensorSpec:
    if node.type not in DTYPES:
        raise EngineError(f"onnxruntime: {node.name!r} is a {node.type}, which is not supported")
    shape = tuple(d if isinstance(d, int) and d >= 0 else -1 for d in node.shape)
    return TensorSpec(node.name, DTYPES[node.type], shape)


def _line(error: Exception) -> str:
    """Return the message of an exception of onnxruntime on one line."""
    return " ".join(str(error).split())[:300]
