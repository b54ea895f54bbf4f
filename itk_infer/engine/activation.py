"""From logits to probabilities."""

from __future__ import annotations

from itk_infer.arrays import Array, namespace
from itk_infer.spec import OutputSpec


def activated(logits: Array, output: OutputSpec) -> Array:
    """Logits, (C, ...), as probabilities."""
    xp = namespace(logits)
    if output.decision == "threshold":
        # Half of it plus half a hyperbolic tangent, which does not overflow.
        return 0.5 + 0.5 * xp.tanh(0.5 * logits)
    shares = xp.exp(logits - xp.max(logits, axis=0, keepdims=True))
    shares /= xp.sum(shares, axis=0, keepdims=True)
    return shares
