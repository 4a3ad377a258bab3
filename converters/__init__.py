"""The workshop: trained models -> artifacts tuned for a device. Host only."""

from device_profiles.errors import missing

try:
    import onnx_ir  # noqa: F401
except ImportError as error:
    raise missing("onnx-ir", "convert") from error
