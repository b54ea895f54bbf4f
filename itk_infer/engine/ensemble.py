"""The mean of several models' probabilities or logits on a case's native grid, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace
from itk_infer.engine.activation import activated
from itk_infer.engine.workspace import Slab
from itk_infer.spec import OutputSpec
from itk_infer.volume.box import Box


def probabilities(slabs: Iterable[Slab], output: OutputSpec) -> Iterator[Slab]:
    """Convert slabs of logits to probabilities: softmax over the channels, or a sigmoid per channel."""
    if output.values == "probabilities":
        return iter(slabs)

    def converted(slab: Slab) -> Slab:
        return Slab(slab.z0, activated(slab.logits, output))

    # Unlike a loop, `map` does not keep the last slab while the next one is computed; every member would.
    return map(converted, slabs)


def around(
    slabs: Iterable[Slab],
    part: Box | None,
    size: tuple[int, int, int],
    outside: Callable[[int], NDArray[np.float32]],
) -> Iterator[Slab]:
    """Extend slabs of a part of a case to slabs of the whole case.

    Args:
        slabs: Slabs of the part.
        part: Box of the part in the whole, Z Y X; None: the part is the whole.
        size: Size of the whole, Z Y X.
        outside: From the number of channels to the value of each of them outside the part, (C,).
    """
    if part is None:
        yield from slabs
        return
    deep, rows, columns = part
    done, height = 0, 1

    def empty(planes: int, like: Array) -> Array:
        xp = namespace(like)
        where = {} if xp is np else {"device": like.device}
        values = outside(len(like))
        whole = xp.empty((len(values), planes, *size[1:]), dtype=xp.float32, **where)
        for channel, value in zip(whole, values, strict=True):
            channel[...] = float(value)
        return whole

    last: Array | None = None
    for slab in slabs:
        last, height = slab.logits[:, :1], slab.logits.shape[1]
        while done < deep.start:
            planes = min(height, deep.start - done)
            yield Slab(done, empty(planes, last))
            done += planes
        whole = empty(height, last)
        whole[:, :, rows, columns] = slab.logits
        yield Slab(done, whole)
        done += height
    while last is not None and done < size[0]:
        planes = min(height, size[0] - done)
        yield Slab(done, empty(planes, last))
        done += planes


def reordered(slabs: Iterable[Slab], order: Sequence[int] | None) -> Iterator[Slab]:
    """Reorder the channels of slabs; None: no change."""
    if order is None:
        return iter(slabs)
    channels = list(order)

    def in_order(slab: Slab) -> Slab:
        return Slab(slab.z0, slab.logits[channels])

    return map(in_order, slabs)  # see `probabilities`


Watch = Callable[[Sequence[Array], Array], None]


def mean_of(
    streams: Sequence[Iterator[Slab]], weights: Sequence[float] | None = None, watch: Watch | None = None
) -> Iterator[Slab]:
    """Average streams of slabs on one grid, which may be cut at different planes.

    Args:
        streams: Slabs in ascending order without gaps, with the same number of planes in total.
        weights: One per stream, with a sum of 1; None: equal weights.
        watch: Called with the planes of all streams, and their mean.
    """
    return _Mean(streams, weights or [1 / len(streams)] * len(streams), watch)


class _Mean(Iterator[Slab]):
    """The mean of streams of slabs; keeps only planes for which other streams have none yet. See `mean_of`."""

    def __init__(self, streams: Sequence[Iterator[Slab]], shares: Sequence[float], watch: Watch | None) -> None:
        self._streams, self._shares, self._watch = streams, shares, watch
        self._waiting: list[Array | None] = [None] * len(streams)
        self._done = 0

    def __next__(self) -> Slab:
        for number, stream in enumerate(self._streams):
            if self._waiting[number] is None:
                self._waiting[number] = next(stream).logits
        ready = [planes for planes in self._waiting if planes is not None]
        height = min(planes.shape[1] for planes in ready)
        self._waiting = [None if planes.shape[1] == height else planes[:, height:] for planes in ready]
        ready = [planes[:, :height] for planes in ready]
        xp = namespace(ready[0])
        total = xp.astype(ready[0], xp.float32, copy=True)
        total *= self._shares[0]
        for planes, share in zip(ready[1:], self._shares[1:], strict=True):
            total += share * planes
        if self._watch is not None:
            self._watch(ready, total)
        self._done += height
        return Slab(self._done - height, total)
