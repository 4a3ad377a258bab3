"""Batch-norm statistics for nets with random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def settle_batchnorm(model: nn.Module, batch: Tensor) -> None:
    """Set the statistics of every batch norm of `model`, in place, to those of `batch`.

    With the initial statistics (mean 0, variance 1) a net of random weights answers almost the
    same whatever it is shown, so nothing that is compared through it is really compared. `batch`
    is what `model` takes, and should hold at least a few dozen varied images.
    """
    norms = [
        layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    kept = [(norm.training, norm.momentum) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the plain average over all batches since the reset
    with torch.no_grad():
        model(batch)
    for norm, (training, momentum) in zip(norms, kept, strict=True):
        norm.train(training)
        norm.momentum = momentum
