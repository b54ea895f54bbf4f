"""Activations: conversion of logits to probabilities."""

from __future__ import annotations

from itk_infer.arrays import Array, namespace
from itk_infer.spec import OutputSpec


def activated(logits: Array, output: OutputSpec) -> Array:
    """Probabilities of logits, (C, ...), by the activation of the output block (softmax or sigmoid)."""
    xp = namespace(logits)
    if output.decision == "threshold":
        # The sigmoid as 0.5 + 0.5 tanh(x / 2), which does not overflow.
        return 0.5 + 0.5 * xp.tanh(0.5 * logits)
    shares = xp.exp(logits - xp.max(logits, axis=0, keepdims=True))
    shares /= xp.sum(shares, axis=0, keepdims=True)
    return shares
