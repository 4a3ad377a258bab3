"""The workshop: trained models -> artifacts tuned for a device. Host only."""

import os

from device_profiles.errors import missing

# torch's OpenMP threads spin while they wait, and so take the cores from onnxruntime's, which run
# in turns with them all through a conversion: up to twelve times slower on a busy machine. Read
# once, when torch is first imported; who has set it keeps it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    import onnx_ir  # noqa: F401
except ImportError as error:
    raise missing("onnx-ir", "convert") from error
