"""From an onnx-ir graph to a TFLite flatbuffer: `write.py` walks it, `ops/` knows the ops."""
