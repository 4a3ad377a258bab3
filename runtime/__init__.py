"""The device side: frames in, results out; numpy at import, and one engine."""

import os

# From 1.29 on, ONNX Runtime's wheels for Linux report to their maker over the network, keep an
# identifier on disk and run a thread for that. It reads this when it is imported, once; who wants
# the reports sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
