"""Match the labels of two models by name, to find output channels of the same meaning."""

from __future__ import annotations

from collections.abc import Sequence

from itk_infer.errors import ConfigError, SpecError
from itk_infer.spec import Label, OutputSpec

Order = tuple[int, ...]  # for each channel of the first model, the channel of the other


def channel_order(first: OutputSpec, other: OutputSpec, channels: Sequence[int | None]) -> Order | None:
    """Order the channels of a second model as those of the first.

    Args:
        first: ``output`` block of the first model, whose channels and values are kept.
        other: ``output`` block of the second model.
        channels: Output channels of both; None: known only after a call of the network.

    Returns:
        For each channel of the first model, the channel of the other; None: the order is the same.

    Raises:
        ConfigError: the labels do not match; the message is the end of a sentence about both models.
    """
    one, two = channels
    if one is not None and two is not None and one != two:
        raise ConfigError(f"they have {one} and {two} output channels")
    if one is None or two is None:
        if _declared(first) != _declared(other):
            raise ConfigError("their labels differ, and how many channels each has is not known before it runs")
        return None
    try:
        tables = first.painting(one), other.painting(two)
    except SpecError as error:
        raise ConfigError(str(error)) from None
    names = [{label.name for label in table} for table in tables]
    if names[0] != names[1]:
        raise ConfigError(f"their labels differ: {_only(names[0] - names[1], names[1] - names[0])}")
    order = list(range(one))
    channel = _channels(tables[1])
    for key, own in _channels(tables[0]).items():
        if key not in channel:
            raise ConfigError(f"their labels differ: {key[0]} is read from another number of channels")
        order[own] = channel[key]
    background = [sorted(set(range(one)) - {label.channel for label in table}) for table in tables]
    if len(background[0]) > 1 and background[0] != background[1]:
        raise ConfigError("their labels differ: each has several background channels, and others than the other")
    for mine, its in zip(*background, strict=False):
        order[mine] = its
    if sorted(order) != list(range(one)):
        raise ConfigError("their labels differ: several labels of one are read from one channel of the other")
    return None if order == list(range(one)) else tuple(order)


def _channels(table: Sequence[Label]) -> dict[tuple[str, int], int]:
    """Channels by the names of their labels, and their numbers among the channels of a name."""
    found: dict[tuple[str, int], int] = {}
    for label in table:
        number = sum(name == label.name for name, _ in found)
        found[label.name, number] = label.channel
    return found


def _declared(output: OutputSpec) -> list[tuple[int, str, int]]:
    return [(label.value, label.name, label.channel) for label in output.labels or ()]


def _only(first: set[str], second: set[str]) -> str:
    parts = [
        f"only the {which} has {', '.join(sorted(names))}"
        for which, names in (("first", first), ("second", second))
        if names
    ]
    return "; ".join(parts)
