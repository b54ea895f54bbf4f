from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


def certain(labels, classes=3):
    """Logits that leave no doubt."""
    return 100.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1)


def test_the_loss_of_a_perfect_answer_is_nothing_and_of_an_empty_one_is_much(networks):
    truth = torch.zeros(2, 4, 4, 4, dtype=torch.int64)
    truth[:, :2] = 1
    loss = networks.DiceCrossEntropy()
    # Label 2 is neither there nor found: nothing to complain about.
    assert loss(certain(truth), truth).item() == pytest.approx(0, abs=1e-5)
    # Half the voxels wrong by 100 nats; label 1 has Dice 0, label 2 has 1.
    assert loss(certain(torch.zeros_like(truth)), truth).item() == pytest.approx(50 + 0.5, abs=1e-3)


def test_the_loss_of_no_opinion(networks):
    truth = torch.zeros(1, 2, 2, 2, dtype=torch.int64)
    truth[:, 0] = 1
    # Cross-entropy ln 2; Dice of label 1: 2 * (4 * 0.5) / (8 * 0.5 + 4) = 0.5.
    loss = networks.DiceCrossEntropy()(torch.zeros(1, 2, 2, 2, 2), truth)
    assert loss.item() == pytest.approx(0.693147 + 0.5, abs=1e-4)


def test_the_metric_counts_over_all_cases(networks):
    metric = networks.MeanDice(labels=[1, 2])
    truth = torch.tensor([[[0, 1, 1, 1]]])
    half = torch.tensor([[[0, 1, 1, 0]]])
    metric.process(None, [{"predicted": half, "labels": truth}, {"predicted": truth, "labels": truth}])
    # Label 1: 2 * (2 + 3) / (2 + 3 + 3 + 3); label 2 is nowhere.
    assert metric.evaluate(2) == pytest.approx({"dice_1": 10 / 11, "dice_2": 1.0, "mean_dice": (10 / 11 + 1) / 2})
