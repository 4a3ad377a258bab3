"""One family of ONNX ops per file, each with `OPS`: name of the op -> function that writes it."""
