"""Meaning of the output channels, from dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.json_block import JsonBlock, whole


@dataclass(frozen=True, slots=True)
class Painted:
    """The output channel of one label or region.

    Attributes:
        name: Name of the label or region.
        channel: Output channel.
        value: Value in label maps.
    """

    name: str
    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels, which exclude each other, or regions, which may overlap.

    Attributes:
        painted: Labels or regions, without background. Regions are in the order in which they are painted: later
            ones overwrite earlier ones.
        foreground: Distinct values of the training label maps, without background and the ignore label. Each is
            one input channel of a cascade's second stage.
        regions: Whether these are regions.
        notes: Sentences for the user.
    """

    painted: tuple[Painted, ...]
    foreground: tuple[int, ...]
    regions: bool
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Output channels of the network."""
        return len(self.painted) + (0 if self.regions else 1)


def read_labels(dataset: Mapping[str, Any], source: str) -> Labels:
    """Read the labels of dataset.json.

    Args:
        dataset: The content of dataset.json.
        source: Name of the file in messages.

    Raises:
        ModelError: labels are missing or contradict each other, or regions have no distinct values.
    """
    block = JsonBlock(dataset, source).block("labels")
    if "background" not in block.content and any(str(key).isdecimal() for key in block.content):
        raise ModelError(
            f"{source}: labels are listed as in nnU-Net v1, value to name; version 2 lists name to value"
        )
    values = {name: _values(block, name) for name in block.content if name != "ignore"}
    if values.get("background") != (0,):
        raise block.wrong("background", "the value 0")
    distinct = sorted({value for some in values.values() for value in some})
    if distinct[0] < 0:
        raise ModelError(f"{block.where}: label values must be 0 or above, and {distinct[0]} is not")
    if any(len(some) > 1 for some in values.values()):
        return _regions(JsonBlock(dataset, source), values, distinct)
    names = dict.fromkeys(distinct, "")
    for name, (value,) in values.items():
        names[value] = f"{names[value]} / {name}" if names[value] else name
    painted = tuple(Painted(names[value], place, place) for place, value in enumerate(distinct) if value != 0)
    moved = [f"{label.name} {value} as {label.channel}" for label, value in _pairs(painted, distinct)]
    notes = (
        f"label values have gaps, and nnU-Net numbers labels without: it writes {', '.join(moved[:4])}"
        + (", ..." if len(moved) > 4 else ""),
    )
    return Labels(painted, tuple(distinct[1:]), False, notes if moved else ())


def _pairs(painted: tuple[Painted, ...], distinct: list[int]) -> list[tuple[Painted, int]]:
    """Labels whose value in label maps differs from that in the training set."""
    return [(label, value) for label, value in zip(painted, distinct[1:], strict=True) if label.value != value]


def _values(block: JsonBlock, name: str) -> tuple[int, ...]:
    given = block.content[name]
    error = block.wrong(name, "a whole number or a list of them")
    values = tuple(whole(item, error) for item in (given if isinstance(given, list | tuple) else [given]))
    if not values:
        raise error
    return values


def _regions(dataset: JsonBlock, values: Mapping[str, tuple[int, ...]], distinct: list[int]) -> Labels:
    names = [name for name, some in values.items() if set(some) != {0}]
    order = dataset.integers("regions_class_order")
    if len(order) != len(names):
        raise ModelError(
            f"{dataset.where}: regions_class_order has {len(order)} entries for {len(names)} regions "
            f"({', '.join(names)}); it needs one value per region"
        )
    if min(order) < 1:
        raise ModelError(
            f"{dataset.where}: regions_class_order holds {min(order)}; the value of a region must be above 0"
        )
    of_value = {value: [name for name, own in zip(names, order, strict=True) if own == value] for value in order}
    painted = tuple(Painted(" / ".join(of_value[value]), channel, value) for channel, value in enumerate(order))
    notes = tuple(
        f"regions_class_order writes {' and '.join(some)} as one value, {value}: they are one label here"
        for value, some in of_value.items()
        if len(some) > 1
    )
    return Labels(painted, tuple(distinct[1:]), True, notes)
