"""Several models, each for some of the labels, whose label maps are merged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from itk_infer.errors import ConfigError, InferenceError
from itk_infer.model.backend import Backend, Logits, NetworkShape, Windows
from itk_infer.spec import Label, OutputSpec
from itk_infer.spec.labels import default_color, distinct


@dataclass(frozen=True, slots=True)
class RecipePart:
    """One model of a recipe.

    Attributes:
        name: Name in the recipe.
        backend: Runs the model.
        values: Values in the merged map by label name; None: all labels, with their own values.
    """

    name: str
    backend: Backend
    values: Mapping[str, int] | None

    def table(self) -> list[tuple[Label, int]]:
        """Return each label that is kept, and its value in the merged map.

        Raises:
            ConfigError: a label in `values` is not one of the model's, or these are not known.
        """
        channels = self.backend.shape.channels_out
        output = self.backend.spec.output
        own = output.label_table(channels) if channels else distinct(output.labels or ())
        if self.values is None:
            return [(label, label.value) for label in own]
        named = {label.name: label for label in own}
        unknown = [name for name in self.values if name not in named]
        if unknown:
            there = ", ".join(named) or "no known labels"
            raise ConfigError(f"{self.name}: has no label {', '.join(unknown)}; it has {there}")
        return [(named[name], value) for name, value in self.values.items()]


class Recipe:
    """The models of a recipe as one `Backend`. Each runs on windows of its own, so `forward` raises.

    Args:
        name: Name of the recipe.
        parts: The models in the order of merging: later labels replace earlier ones.
        text: Content of the recipe file, for the digest.

    Attributes:
        parts: The models.
        spec: The input of the first model, and the labels of the merged map.

    Raises:
        ConfigError: the models take different channels, or one value has two names.
    """

    def __init__(self, name: str, parts: Sequence[RecipePart], text: str) -> None:
        first = parts[0].backend
        expected = len(first.spec.input.channels)
        labels: dict[int, Label] = {}
        for part in parts:
            channels = len(part.backend.spec.input.channels)
            if channels != expected:
                raise ConfigError(
                    f"{part.name}: takes {channels} channels, and {parts[0].name} {expected}; all models of "
                    "a recipe see the same images"
                )
            if part.backend.spec.output.postprocessing:
                raise ConfigError(
                    f"{part.name}: has post-processing rules, which recipes do not apply; leave them out, "
                    "or apply them to the merged masks with itk_infer postprocess"
                )
            for label, value in part.table():
                known = labels.setdefault(
                    value, Label(value, label.name, default_color(value), 0, code=label.code)
                )
                if known.name != label.name:
                    raise ConfigError(
                        f"{part.name}: its label {label.name} and {known.name} of another model both have the "
                        f'value {value}; give "labels" with values in the recipe'
                    )
        twice = [name for name, n in Counter(label.name for label in labels.values()).items() if n > 1]
        if twice:
            raise ConfigError(
                f"two models have the label {twice[0]} under different values; give it one value, or name in "
                '"labels" which model\'s is kept'
            )
        ordered = [replace(labels[value], channel=number) for number, value in enumerate(sorted(labels), 1)]
        self.parts = tuple(parts)
        self._name, self._text = name, text
        self.spec = replace(
            first.spec, name=name, output=OutputSpec(labels=tuple(ordered), background=(0,)), description=""
        )
        self.shape = NetworkShape(first.shape.channels_in, len(ordered) + 1)
        self.device, self.tensor_device = first.device, first.tensor_device
        self.provider, self.precision = first.provider, first.precision
        digests = " ".join(part.backend.digest for part in parts)
        self.digest = hashlib.sha256(f"{text} {digests}".encode()).hexdigest()
        notes = [
            note if note in first.notes else f"{part.name}: {note}"
            for part in parts
            for note in part.backend.notes
        ]
        self.notes = (f"the label maps of {len(parts)} models are merged", *dict.fromkeys(notes))

    def forward(self, windows: Windows) -> Logits:
        """Not supported: the models run on windows of their own.

        Raises:
            InferenceError: always.
        """
        raise InferenceError("the models of a recipe run on their own windows; call those")

    def in_full_precision(self) -> Backend:
        """See `Backend.in_full_precision`."""
        full = [replace(part, backend=part.backend.in_full_precision()) for part in self.parts]
        return self if full == list(self.parts) else Recipe(self._name, full, self._text)
