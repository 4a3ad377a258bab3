"""Quantization: ranges -> grids -> corrected biases; formats turn the plan into bytes."""
