"""Iteration over pictures with their neighbours: each is decoded once, and only one neighbourhood is in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class Slot(Generic[Item]):
    """One position in a series.

    Attributes:
        item: The picture at this position.
        twins: Other pictures with the same UID: they get the same neighbours, and are not neighbours of others.
    """

    item: Item
    twins: list[Item] = field(default_factory=list)


def with_neighbours(slots: Iterator[Slot[Item]], reach: int) -> Iterator[tuple[list[Item], int]]:
    """Yield every picture with its neighbours.

    Args:
        slots: Positions in the order of the series.
        reach: Number of neighbours before and after each picture.

    Yields:
        The picture among its neighbours, and its index; there are fewer neighbours at the ends of the series.
    """
    held: deque[Slot[Item]] = deque()
    at = 0  # index in `held` of the next picture
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
