"""Several models whose probabilities or logits are averaged."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from itk_infer.errors import ConfigError, InferenceError
from itk_infer.model.backend import Backend, Logits, NetworkShape, Windows
from itk_infer.model.label_match import Order, channel_order
from itk_infer.model.recipe import Recipe

Mean = Literal["probabilities", "logits"]


class Ensemble:
    """Several models as one `Backend`. Each runs on windows of its own, so `forward` raises.

    Args:
        members: At least two models with the same orientation, input channels and labels; a member may be an
            ensemble.
        names: Names of the members, for messages.
        weights: One per member, above 0; None: equal weights.
        mean: What is averaged: probabilities or logits.
        name: Name of the ensemble; empty: the members' names.

    Attributes:
        members: The models.
        weights: One per member; their sum is 1.
        orders: Channel order of each member, see `channel_order`.
        mean: What is averaged: probabilities or logits.
        spec: The first member's, with outputs of the kind that is averaged.

    Raises:
        ConfigError: two members cannot be averaged, or the weights do not fit; the message says why.
    """

    def __init__(
        self,
        members: Sequence[Backend],
        names: Sequence[str],
        weights: Sequence[float] | None = None,
        mean: Mean = "probabilities",
        name: str = "",
    ) -> None:
        first = members[0]
        self.members, self.mean = tuple(members), mean
        self._names, self._given = tuple(names), weights
        self.weights = normalised(weights, len(members))
        self.orders = tuple(
            _order(first, member, (names[0], one)) for one, member in zip(names, members, strict=True)
        )
        if mean == "logits":
            for one, member in zip(names, members, strict=True):
                if member.spec.output.values != "logits":
                    raise ConfigError(f"{one}: its outputs are probabilities, so logits cannot be averaged")
        self.spec = replace(
            first.spec,
            name=name or " + ".join(dict.fromkeys(member.spec.name or "unnamed model" for member in members)),
            output=replace(first.spec.output, values=mean),
        )
        self.shape = NetworkShape(first.shape.channels_in, first.shape.channels_out)
        self.device, self.tensor_device = first.device, first.tensor_device
        self.provider, self.precision = first.provider, first.precision
        self.digest = ensemble_digest(self.members, None if weights is None else self.weights, mean)
        self.notes = ensemble_notes(self.members, names, None if weights is None else self.weights, mean)

    def forward(self, windows: Windows) -> Logits:
        """Not supported: members run on windows of their own.

        Raises:
            InferenceError: always.
        """
        raise InferenceError("the members of an ensemble run on their own windows; call those")

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`."""
        full = [member.in_full_precision() for member in self.members]
        if full == list(self.members):
            return self
        return Ensemble(full, self._names, self._given, self.mean, self.spec.name)


def normalised(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Scale weights to a sum of 1.

    Raises:
        ConfigError: there are not as many as `count`, or one is not above 0.
    """
    if weights is None:
        return (1 / count,) * count
    if len(weights) != count:
        raise ConfigError(f"`weights`: {len(weights)} are given for {count} models; give one for each")
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ConfigError("`weights`: each must be a number above 0; leave out a model that is not to count")
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def ensemble_digest(members: Sequence[Backend], weights: Sequence[float] | None, mean: Mean) -> str:
    """SHA-256 of the members' digests, and of weights and `mean` where these are not the default."""
    words = [member.digest for member in members]
    if weights is not None:
        words += [repr(weight) for weight in weights]
    if mean != "probabilities":
        words.append(mean)
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def ensemble_notes(
    members: Sequence[Backend], names: Sequence[str], weights: Sequence[float] | None, mean: Mean
) -> tuple[str, ...]:
    """Notes for the user: how the members are averaged, and the notes of each."""
    first = members[0]
    notes = [
        note if note in first.notes else f"{name}: {note}"
        for name, member in zip(names, members, strict=True)
        for note in member.notes
    ]
    shares = "" if weights is None else f" with the weights {', '.join(f'{weight:.3g}' for weight in weights)}"
    return (f"the {mean} of {len(members)} models are averaged{shares}", *dict.fromkeys(notes))


def _order(first: Backend, other: Backend, names: tuple[str, str]) -> Order | None:
    """See `channel_order`.

    Raises:
        ConfigError: the two cannot be averaged.
    """
    if first is other:
        return None
    try:
        _compare(first, other)
        channels = first.shape.channels_out, other.shape.channels_out
        return channel_order(first.spec.output, other.spec.output, channels)
    except ConfigError as error:
        raise ConfigError(f"{names[0]} and {names[1]} cannot be averaged: {error}") from None


def _compare(one: Backend, other: Backend) -> None:
    """Raise `ConfigError` if two models cannot be averaged; the message is the end of a sentence."""
    if isinstance(one, Recipe) or isinstance(other, Recipe):
        raise ConfigError("a recipe gives label maps, of which there is no mean")
    first, second = one.spec, other.spec
    if len(first.input.channels) != len(second.input.channels):
        raise ConfigError(f"they take {len(first.input.channels)} and {len(second.input.channels)} channels")
    axes = [(spec.input.orientation, spec.input.axes) for spec in (first, second)]
    if axes[0] != axes[1]:
        words = [f"{code or 'as stored'} ({order})" for code, order in axes]
        raise ConfigError(f"they see the image in different orientations, {words[0]} and {words[1]}")
    rules = [
        (spec.output.decision, spec.output.threshold, spec.output.label_thresholds) for spec in (first, second)
    ]
    if rules[0] != rules[1]:
        raise ConfigError("they decide by different rules (output.decision, output.threshold)")
    if first.output.postprocessing != second.output.postprocessing:
        raise ConfigError("their post-processing rules differ; give one set of rules for all (`postprocess`)")
