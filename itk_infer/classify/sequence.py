"""Pictures with their neighbours, each decoded once, as many in memory as one is seen together with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class Slot(Generic[Item]):
    """One place in a series.

    Attributes:
        item: The picture there.
        twins: Others with the same UID: they are seen with the same neighbours, and are neighbours of none.
    """

    item: Item
    twins: list[Item] = field(default_factory=list)


def with_neighbours(slots: Iterator[Slot[Item]], reach: int) -> Iterator[tuple[list[Item], int]]:
    """Every picture with those around it.

    Args:
        slots: In the order of the series.
        reach: How many before and after it.

    Yields:
        Pictures, and which of them is meant; at the ends of the series there are fewer before or after it.
    """
    held: deque[Slot[Item]] = deque()
    at = 0  # of the next one in `held`
    for slot in slots:
        held.append(slot)
        if len(held) > at + reach:
            yield from _around(held, at)
            at += 1
        if at > reach:
            held.popleft()
            at -= 1
    while at < len(held):
        yield from _around(held, at)
        at += 1
        if at > reach:
            held.popleft()
            at -= 1


def _around(held: deque[Slot[Item]], at: int) -> Iterator[tuple[list[Item], int]]:
    items = [slot.item for slot in held]
    for item in (held[at].item, *held[at].twins):
        items[at] = item
        yield list(items), at
