"""Agreement of members against the definitions, computed on whole arrays in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from itk_infer.engine.agreement import Agreement
from itk_infer.spec import Label, OutputSpec

SHAPE = (6, 7, 8)


def probabilities(seed, channels=4, sharp=3.0):
    scores = sharp * np.random.default_rng(seed).normal(size=(channels, *SHAPE))
    powers = np.exp(scores - scores.max(axis=0))
    return (powers / powers.sum(axis=0)).astype(np.float32)


def blobs(seed, noise=0.5):
    """Members that agree in most voxels."""
    base = 4 * np.random.default_rng(0).normal(size=(4, *SHAPE))
    scores = base + noise * np.random.default_rng(seed).normal(size=base.shape)
    powers = np.exp(scores - scores.max(axis=0))
    return (powers / powers.sum(axis=0)).astype(np.float32)


def entropy(share, axis=None):
    share = share.astype(float)
    parts = -share * np.log(np.where(share > 0, share, 1))
    return parts.sum(axis=axis)


def dice(one, other):
    size = one.sum() + other.sum()
    return None if size == 0 else 2 * (one & other).sum() / size


def mean_of_pairs(masks):
    values = [value for pair in itertools.combinations(masks, 2) if (value := dice(*pair)) is not None]
    return np.mean(values) if values else None


def measured(parts, weights, output, heights, where):
    mean = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    if where == "device":
        torch = pytest.importorskip("torch")
        parts, mean = [torch.from_numpy(part) for part in parts], torch.from_numpy(mean)
    agreement = Agreement(output, weights)
    z = 0
    for height in heights:
        agreement.add([part[:, z : z + height] for part in parts], mean[:, z : z + height])
        z += height
    assert z == SHAPE[0]
    return agreement.result()


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("heights", [(6,), (1, 2, 3)], ids=["one slab", "three slabs"])
@pytest.mark.parametrize("make", [probabilities, blobs])
def test_argmax(where, heights, make):
    parts = [make(seed) for seed in range(3)]
    weights = (0.5, 0.3, 0.2)
    found = measured(parts, weights, OutputSpec(), heights, where)
    won = [part.argmax(axis=0) for part in parts]
    assert found.members == 3
    assert found.dice == pytest.approx([mean_of_pairs([w == label for w in won]) for label in (1, 2, 3)], rel=1e-9)
    mean = sum(weight * part.astype(float) for weight, part in zip(weights, parts, strict=True))
    of_each = sum(weight * entropy(part, 0) for weight, part in zip(weights, parts, strict=True))
    information = (entropy(mean, 0) - of_each) / np.log(4)
    assert found.mutual_information == pytest.approx(information[mean.argmax(axis=0) != 0].mean(), rel=1e-4)


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("heights", [(6,), (1, 2, 3)], ids=["one slab", "three slabs"])
def test_threshold(where, heights):
    """Labels overlap; each has a threshold of its own kind of decision, and its own entropy."""
    parts = [np.random.default_rng(seed).random((2, *SHAPE), np.float32) for seed in range(3)]
    output = OutputSpec(decision="threshold", threshold=0.6)
    found = measured(parts, (1 / 3,) * 3, output, heights, where)
    masks = [[part[channel] > 0.6 for part in parts] for channel in (0, 1)]
    assert found.dice == pytest.approx([mean_of_pairs(each) for each in masks], rel=1e-9)
    mean = np.mean(parts, axis=0, dtype=float)
    both = np.stack([mean, 1 - mean])
    of_each = np.mean([entropy(np.stack([part, 1 - part]), 0) for part in parts], axis=0)
    information = ((entropy(both, 0) - of_each) / np.log(2)).mean(axis=0)
    assert found.mutual_information == pytest.approx(information[(mean > 0.6).any(axis=0)].mean(), rel=1e-4)


def test_a_label_of_two_channels_is_their_union():
    """Member by member, and in the mean."""
    parts = [np.random.default_rng(seed).random((2, *SHAPE), np.float32) for seed in range(3)]
    labels = tuple(Label(1, "both", "#ff0000", channel) for channel in (0, 1))
    found = measured(
        parts, (1 / 3,) * 3, OutputSpec(decision="threshold", threshold=0.6, labels=labels), (6,), "host"
    )
    larger = [part.max(axis=0, keepdims=True) for part in parts]
    assert found.dice == pytest.approx([mean_of_pairs([(part > 0.6)[0] for part in larger])], rel=1e-9)
    mean = np.mean(parts, axis=0, dtype=float).max(axis=0)
    of_each = np.mean([entropy(np.stack([part, 1 - part]), 0) for part in larger], axis=0)[0]
    information = (entropy(np.stack([mean, 1 - mean]), 0) - of_each) / np.log(2)
    assert found.mutual_information == pytest.approx(information[mean > 0.6].clip(0, 1).mean(), rel=1e-4)


def test_members_that_are_the_same_agree_and_know_nothing_of_each_other():
    part = blobs(1)
    found = measured([part] * 4, (0.25,) * 4, OutputSpec(), (6,), "host")
    assert found.dice == (1.0, 1.0, 1.0)
    assert found.mutual_information == pytest.approx(0, abs=1e-6)


def test_members_that_contradict_each_other_share_all_information():
    """Two certain members of which each finds what the other does not: one bit of ln 2, of ln 4 at most."""
    one, other = np.zeros((2, 4, *SHAPE), np.float32)
    one[1], other[2] = 1, 1
    found = measured([one, other], (0.5, 0.5), OutputSpec(), (6,), "host")
    assert found.dice == (0.0, 0.0, None)
    assert found.mutual_information == pytest.approx(0.5, abs=1e-6)


def test_a_label_that_some_members_miss():
    """A pair of which one found nothing has Dice 0; a pair of which neither did is left out."""
    nothing, something = np.zeros((2, 4, *SHAPE), np.float32)
    nothing[0] = 1
    something[0], something[0, 0], something[3, 0] = 1, 0, 1
    found = measured([nothing, nothing, something], (1 / 3,) * 3, OutputSpec(), (6,), "host")
    assert found.dice == (None, None, 0.0)
    found = measured([nothing] * 2, (0.5,) * 2, OutputSpec(), (6,), "host")
    assert (found.dice, found.mutual_information) == ((None,) * 3, None)


def test_before_the_first_slab():
    found = Agreement(OutputSpec(), (0.5, 0.5)).result()
    assert (found.members, found.dice, found.mutual_information) == (2, (), None)
