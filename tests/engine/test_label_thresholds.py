"""A threshold of its own for each label, against the rule written out for all voxels in float64."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.engine.agreement import Agreement
from itk_infer.engine.decision import Decision
from itk_infer.engine.host import HostWorkspace
from itk_infer.errors import SpecError
from itk_infer.spec import OutputSpec
from itk_infer.testing.workspaces import model_of, outcome

LIMITS = (("label 1", 0.3), ("label 3", 0.6))
SOFTMAX = OutputSpec(label_thresholds=LIMITS)
SIGMOID = OutputSpec(decision="threshold", threshold=0.4, label_thresholds=(("label 2", 0.2), ("label 4", 0.9)))
LOGITS = np.random.default_rng(4).normal(scale=2, size=(4, 5, 6, 7)).astype(np.float32)


def softmax(logits):
    powers = np.exp(logits.astype(float) - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def expected_of(p):
    """Channels 0 (background) and 2 have no threshold; labels have the numbers of their channels."""
    labels = np.where(p[2] > p[0], 2, 0)
    most = np.ones(p.shape[1:])
    for channel, limit in ((1, 0.3), (3, 0.6)):
        labels = np.where(p[channel] / limit > most, channel, labels)
        most = np.maximum(most, p[channel] / limit)
    return labels


@pytest.mark.parametrize("values", ["logits", "probabilities"])
def test_softmax(values):
    p = softmax(LOGITS)
    given = LOGITS if values == "logits" else p.astype(np.float32)
    labels, masks = Decision(OutputSpec(values=values, label_thresholds=LIMITS), 4).decide(given)
    assert masks is None
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(labels, expected_of(p))
    assert (labels != p.argmax(axis=0)).mean() > 0.05


def test_a_single_label_is_where_its_probability_exceeds_the_threshold():
    p = softmax(LOGITS[:2])
    labels, _ = Decision(OutputSpec(label_thresholds=(("label 1", 0.17),)), 2).decide(LOGITS[:2])
    np.testing.assert_array_equal(labels, p[1] > 0.17)


@pytest.mark.parametrize("values", ["logits", "probabilities"])
def test_sigmoid(values):
    p = 1 / (1 + np.exp(-LOGITS.astype(float)))
    given = LOGITS if values == "logits" else p.astype(np.float32)
    output = OutputSpec(
        values=values, decision="threshold", threshold=0.4, label_thresholds=SIGMOID.label_thresholds
    )
    decision = Decision(output, 4)
    labels, masks = decision.decide(given)
    wanted = p > np.array([0.4, 0.2, 0.4, 0.9])[:, None, None, None]
    np.testing.assert_array_equal(masks, wanted)
    np.testing.assert_array_equal(decision.counts(labels, masks), wanted.sum(axis=(1, 2, 3)))


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("size", [(7, 8, 9), (10, 12, 14)])
def test_on_the_native_grid_logits_are_interpolated_first(size, logits):
    """As without thresholds; and counts and soft Dice are of what was decided."""
    volume = np.random.default_rng(5).normal(size=(2, 7, 8, 9)).astype(np.float32)
    asked = {"model": model_of(size, (7, 8, 9))}
    plain = outcome(HostWorkspace(), volume, (4, 4, 4), (2, 2, 2), logits=True, **asked)[1]["logits"]
    stats, parts = outcome(HostWorkspace(), volume, (4, 4, 4), (2, 2, 2), output=SOFTMAX, logits=logits, **asked)
    wanted = expected_of(softmax(plain.astype(float)))
    assert (parts["labels"] != wanted).mean() < 0.005  # stored logits are of half precision
    assert list(stats.voxels) == [np.count_nonzero(parts["labels"] == value) for value in (1, 2, 3)]
    if size == (7, 8, 9):
        p = softmax(plain.astype(float))
        soft = [
            2 * p[c][parts["labels"] == c].sum() / (p[c].sum() + np.count_nonzero(parts["labels"] == c))
            for c in (1, 2, 3)
        ]
        np.testing.assert_allclose(stats.confidence.soft_dice, soft, rtol=2e-3)


def test_members_are_compared_by_what_they_would_decide():
    parts = [softmax(LOGITS).astype(np.float32), softmax(LOGITS[:, ::-1]).astype(np.float32)]
    agreement = Agreement(SOFTMAX, (0.5, 0.5))
    agreement.add(parts, (parts[0] + parts[1]) / 2)
    one, other = (expected_of(part.astype(float)) for part in parts)
    wanted = [2 * ((one == c) & (other == c)).sum() / ((one == c).sum() + (other == c).sum()) for c in (1, 2, 3)]
    np.testing.assert_allclose(agreement.result().dice, wanted)


def test_a_threshold_of_no_label_is_refused():
    with pytest.raises(SpecError, match="there is no label 'liver'; there are label 1, label 2"):
        Decision(OutputSpec(label_thresholds=(("liver", 0.3),)), 3)


def test_softmax_needs_a_channel_for_the_other_voxels():
    limits = (("label 1", 0.3), ("label 2", 0.3))
    with pytest.raises(SpecError, match="every channel of this argmax model has a threshold"):
        Decision(OutputSpec(labels=(), background=(), label_thresholds=(*limits, ("label 0", 0.5))), 3)
