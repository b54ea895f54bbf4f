"""Several models whose probabilities are averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from itk_infer.errors import ConfigError, InferenceError
from itk_infer.model.backend import Backend, Logits, NetworkShape, Windows
from itk_infer.spec import ModelSpec


class Ensemble:
    """What several models have in common, as `Backend`. Each runs on windows of its own, so `forward` raises.

    Args:
        members: At least two models that see the same axes and answer with the same labels.
        names: Of the members, for messages.

    Attributes:
        members: See above.
        spec: The first member's, but that its outputs are probabilities.

    Raises:
        ConfigError: two members cannot be averaged; the message says why.
    """

    def __init__(self, members: Sequence[Backend], names: Sequence[str]) -> None:
        first = members[0]
        for name, member in zip(names[1:], members[1:], strict=True):
            difference = _difference(first, member)
            if difference:
                raise ConfigError(f"{names[0]} and {name} cannot be averaged: {difference}")
        self.members = tuple(members)
        self.spec = replace(
            first.spec,
            name=" + ".join(dict.fromkeys(member.spec.name or "unnamed model" for member in members)),
            output=replace(first.spec.output, values="probabilities"),
        )
        self.shape = NetworkShape(first.shape.channels_in, first.shape.channels_out)
        self.device, self.tensor_device = first.device, first.tensor_device
        self.provider, self.precision = first.provider, first.precision
        self.digest = hashlib.sha256(" ".join(member.digest for member in members).encode()).hexdigest()
        notes = [
            note if note in first.notes else f"{name}: {note}"
            for name, member in zip(names, members, strict=True)
            for note in member.notes
        ]
        self.notes = (f"the probabilities of {len(members)} models are averaged", *dict.fromkeys(notes))

    def forward(self, windows: Windows) -> Logits:
        """Not for ensembles.

        Raises:
            InferenceError: always.
        """
        raise InferenceError("the members of an ensemble run on their own windows; call those")

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`."""
        full = [member.in_full_precision() for member in self.members]
        return self if full == list(self.members) else Ensemble(full, [member.spec.name for member in full])


def _difference(one: Backend, other: Backend) -> str:
    """Why two models cannot be averaged, as the end of a sentence; empty if they can."""
    first, second = one.spec, other.spec
    if len(first.input.channels) != len(second.input.channels):
        return f"they take {len(first.input.channels)} and {len(second.input.channels)} channels"
    axes = [(spec.input.orientation, spec.input.axes) for spec in (first, second)]
    if axes[0] != axes[1]:
        words = [f"{code or 'as stored'} ({order})" for code, order in axes]
        return f"they see the image in different orientations, {words[0]} and {words[1]}"
    rules = [(spec.output.decision, spec.output.threshold) for spec in (first, second)]
    if rules[0] != rules[1]:
        return "they decide by different rules (output.decision, output.threshold)"
    if one.shape.channels_out != other.shape.channels_out:
        return f"they have {one.shape.channels_out} and {other.shape.channels_out} output channels"
    if first.output.postprocessing != second.output.postprocessing:
        return "their post-processing rules differ; give one set of rules for all (`postprocess`)"
    tables = [
        [(label.value, label.name, label.channel) for label in spec.output.labels or ()]
        for spec in (first, second)
    ]
    if tables[0] != tables[1]:
        return "their labels differ"
    return ""


def _labels(spec: ModelSpec) -> list[tuple[int, str, int]]:
    return [(label.value, label.name, label.channel) for label in spec.output.labels or ()]
