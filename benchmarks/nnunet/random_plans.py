"""Random plans against nnU-Net's own functions: what enters the network, windows and their weights, label maps.

    python benchmarks/nnunet/random_plans.py --plans 400

Runs where nnunetv2 and itk_infer can both be imported. Every disagreement is printed with its seed and counted: as
explained, where the script can show that rounding decides, or as unexplained. Exit code 1 if any is unexplained.
"""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Iterator

import numpy as np
from made_up_plans import Made, make
from numpy.typing import NDArray
from ours import Ours
from theirs import Theirs

INPUT = 1e-5  # largest difference of the network's input, relative to its largest value
WEIGHTS = 1e-6
TIE = 1e-5  # logits that differ by less, relative to the largest, are equal but for rounding
SHARE = 1e-3  # half precision of the shares of labels in nnU-Net's torch resampling
Disagreement = tuple[str, str | None]  # what differs; why, or None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    args = parser.parse_args()
    explained: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    unexplained = 0
    for seed in range(args.first, args.first + args.plans):
        made = make(seed)
        kinds.update(traits(made))
        for what, why in disagreements(made, seed):
            print(f"seed {seed} ({', '.join(traits(made))}): {what}" + (f"; explained: {why}" if why else ""))
            explained.update([why] if why else [])
            unexplained += why is None
    print(f"{args.plans} plans: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    for why, count in explained.items():
        print(f"explained {count} times: {why}")
    print(f"unexplained: {unexplained}")
    sys.exit(1 if unexplained else 0)


def traits(made: Made) -> list[str]:
    """What is tried."""
    about = made.configuration
    coarse = max(made.spacing) / min(made.spacing) > 3
    order = made.dataset.get("regions_class_order", [])
    found = {
        made.kind: True,
        "2d": made.flat,
        "transposed": made.plans["transpose_forward"] != [0, 1, 2],
        "torch": made.torch,
        "masked": any(about["use_mask_for_norm"]),
        "regions": bool(order),
        "regions of one value": len(set(order)) < len(order),
        "cascade": made.previous is not None,
        "thick slices": coarse,
    }
    return [name for name, there in found.items() if there]


def disagreements(made: Made, seed: int) -> Iterator[Disagreement]:
    """Everything in which the two differ."""
    theirs = Theirs(made)
    ours = Ours(made)
    if ours.channels != theirs.channels:
        yield f"output channels {ours.channels}, nnU-Net {theirs.channels}", None
        return
    if ours.padded.shape != theirs.padded.shape:
        yield f"size {ours.padded.shape}, nnU-Net {theirs.padded.shape}", None
        return
    yield from inputs(made, ours.padded, theirs.padded)
    yield from one_hot(made, ours.padded, theirs)
    yield from windows(made, ours, theirs)
    rng = np.random.default_rng(seed)
    logits = smooth(rng, (ours.channels, *ours.size))
    mine, other = ours.label_map(logits, int(rng.integers(1, ours.size[0] + 1))), theirs.label_map(logits)
    midway = theirs.midway(ours.nearest_back) if made.torch else np.zeros(mine.shape, np.bool_)
    yield from labels(made, mine, other, theirs.native_logits(logits), midway)


def inputs(made: Made, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> Iterator[Disagreement]:
    images = len(made.image)
    for channel, (mine, other) in enumerate(zip(ours[:images], theirs[:images], strict=True)):
        name = f"channel {channel} of the input"
        if not np.isfinite(other).all():
            if np.isfinite(mine).all():
                yield f"{name}: nnU-Net's is not finite", "nnU-Net takes the mean of no voxels"
            continue
        largest = max(1.0, float(np.abs(other).max()))
        difference = float(np.abs(mine - other).max()) / largest
        if difference > INPUT:
            yield f"{name}: {difference:.1e} of its largest value", noise(made, channel, mine)


def one_hot(made: Made, ours: NDArray[np.float32], theirs: Theirs) -> Iterator[Disagreement]:
    """Labels of the previous stage."""
    images = len(made.image)
    differing = (ours[images:] != theirs.padded[images:]).any(axis=0)
    if not differing.any():
        return
    shape = theirs.data.shape[1:]
    before = [(whole - part) // 2 for whole, part in zip(differing.shape, shape, strict=True)]
    inside = differing[tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))]
    first, second = theirs.shares(made)[:2]
    tied = bool((first - second < SHARE)[inside].all())
    what = f"labels of the previous stage in {np.count_nonzero(differing)} voxels"
    if not tied:
        yield what, None
    elif made.torch:
        yield what, "labels have equal shares: nnU-Net's torch resampling takes the lowest"
    else:
        yield what, "labels have shares that are equal but for rounding, by which nnU-Net decides"


def noise(made: Made, channel: int, mine: NDArray[np.float32]) -> str | None:
    """A constant channel has no deviation; nnU-Net divides the rounding of its mean by 1e-8."""
    stored = made.image[channel]
    about = made.configuration
    masked = about["use_mask_for_norm"][channel]
    values = stored[stored != 0] if masked else stored
    zscore = about["normalization_schemes"][channel] == "ZScoreNormalization"
    if zscore and values.size and np.ptp(values) == 0 and not np.any(mine):
        return "a constant channel: nnU-Net divides rounding by 1e-8, here it is 0"
    return None


def windows(made: Made, ours: Ours, theirs: Theirs) -> Iterator[Disagreement]:
    axes = ours.windows[1:] if made.flat else ours.windows
    for axis, (mine, starts) in enumerate(zip(axes, theirs.starts, strict=True)):
        if list(mine.origins) != starts:
            yield f"windows along axis {axis} at {mine.origins}, nnU-Net {starts}", None
            return
    if made.flat and ours.windows[0].origins != tuple(range(ours.size[0])):
        yield "not every slice is a window", None
    total = np.zeros(theirs.padded.shape[-len(axes) :])
    places = [
        (
            index,
            tuple(
                slice(axis.origins[i], axis.origins[i] + axis.patch) for axis, i in zip(axes, index, strict=True)
            ),
        )
        for index in np.ndindex(*(len(axis.origins) for axis in axes))
    ]
    for _, where in places:
        total[where] += theirs.gaussian
    worst = 0.0
    for index, where in places:
        mine = np.ones(())
        for axis, i in zip(axes, index, strict=True):
            mine = np.multiply.outer(mine, axis.weights[i].astype(np.float64))
        worst = max(worst, float(np.abs(mine - theirs.gaussian / total[where]).max()))
    if worst > WEIGHTS:
        yield f"weights differ by {worst:.1e}", None


def smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Logits as of a network: blurred noise, so that labels form regions."""
    from scipy.ndimage import uniform_filter

    blurred = uniform_filter(rng.normal(size=shape), (1, 3, 3, 3), mode="nearest")
    return (10 * blurred).astype(np.float32)


def labels(
    made: Made,
    mine: NDArray[np.integer],
    other: NDArray[np.integer],
    logits: NDArray[np.float64],
    midway: NDArray[np.bool_],
) -> Iterator[Disagreement]:
    differing = mine != other
    if not differing.any():
        return
    there = logits[:, differing]
    bound = TIE * float(np.nanmax(np.abs(logits)))
    if "regions_class_order" in made.dataset:
        close = np.abs(there).min(axis=0) < bound
    else:
        columns = np.arange(there.shape[1])
        close = np.abs(there[mine[differing], columns] - there[other[differing], columns]) < bound
    what = f"labels of {np.count_nonzero(differing)} voxels of {mine.size}"
    if close.all():
        yield what, "logits are equal but for rounding"
    elif (close | midway[differing]).all():
        yield what, "planes midway between two of the network's: torch rounds positions in single precision"
    else:
        yield what, None


if __name__ == "__main__":
    main()
