"""Curves, intervals, calibration: against pairs counted one by one, and figures on paper."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from itk_infer.errors import ConfigError
from itk_infer.evaluate.classified.curves import RankedItems
from itk_infer.evaluate.classified.page import page_html
from itk_infer.evaluate.classified.scores import calibration_bins, measure, wilson
from itk_infer.evaluate.classified.tables import score_lines, score_rows
from itk_infer.evaluate.classified.truths import read_truth

WANTED = (0.9, 0.95)


def points(probabilities, truth, weights=None):
    ranked = RankedItems(np.array(probabilities, float), np.array(truth, bool))
    return ranked.points(None if weights is None else np.array(weights, float))


def pairs_in_order(probabilities, truth):
    """Mann and Whitney: the share of pairs in right order, ties half."""
    yes, no = ([p for p, t in zip(probabilities, truth) if t == wanted] for wanted in (True, False))
    return sum((a > b) + (a == b) / 2 for a in yes for b in no) / (len(yes) * len(no))


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_the_share_of_pairs_in_right_order(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(40) < 0.4
    probabilities = np.round(np.clip(truth * 0.3 + rng.random(40) * 0.7, 0, 1), 1)  # with ties
    assert points(probabilities, truth).auc() == pytest.approx(pairs_in_order(probabilities, truth))


def test_average_precision_on_paper():
    # From the top: positive, negative, positive: 1/2 * 1 + 1/2 * 2/3.
    assert points([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0]).average_precision() == pytest.approx(0.5 + 1 / 3)
    # A tie of a positive and a negative at the top is one point: precision 1/2 at recall 1.
    assert points([0.9, 0.9, 0.1], [1, 0, 0]).average_precision() == pytest.approx(0.5)


def test_sensitivity_at_specificity_on_paper():
    found = points([0.9, 0.8, 0.7, 0.6, 0.5, 0.1], [1, 0, 1, 1, 0, 0])
    assert found.sensitivity_at(1.0) == (pytest.approx(1 / 3), 0.9)
    assert found.sensitivity_at(0.66) == (1.0, 0.6)
    assert points([0.9, 0.8], [0, 1]).sensitivity_at(0.95) == (0.0, float("inf"))


def test_weights_are_repetitions():
    probabilities, truth = [0.9, 0.8, 0.7, 0.3], [1, 0, 1, 0]
    doubled = points([0.9, 0.9, 0.8, 0.7, 0.7, 0.7, 0.3], [1, 1, 0, 1, 1, 1, 0])
    weighted = points(probabilities, truth, [2, 1, 3, 1])
    assert weighted.auc() == pytest.approx(doubled.auc())
    assert weighted.average_precision() == pytest.approx(doubled.average_precision())
    assert points(probabilities, truth, [1, 0, 1, 0]) is None


def test_precision_at_a_recall_is_the_best_from_there_on():
    found = points([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0])
    assert found.precision_at(np.array([0.0, 0.5, 0.6, 1.0])).tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3])


def scored(probabilities, truth, studies=None, threshold=0.5):
    studies = studies or [str(k) for k in range(len(truth))]
    return measure(
        "needle", "image", np.array(probabilities, float), np.array(truth, bool), studies, threshold, WANTED
    )


def test_counts_and_calibration_on_paper():
    one = scored([0.9, 0.6, 0.5, 0.2, 0.05], [1, 0, 1, 1, 0])
    assert one.confusion == (2, 1, 1, 1)
    assert one.measures["sensitivity"].value == pytest.approx(2 / 3)
    assert one.measures["specificity"].value == pytest.approx(1 / 2)
    assert one.measures["precision"].value == pytest.approx(2 / 3)
    assert one.measures["negative_value"].value == pytest.approx(1 / 2)
    assert one.brier == pytest.approx((0.01 + 0.36 + 0.25 + 0.64 + 0.0025) / 5)
    assert one.calibration_error == pytest.approx((0.1 + 0.6 + 0.5 + 0.8 + 0.05) / 5)
    assert (one.count, one.positives) == (5, 3)


def test_calibration_bins():
    bins = calibration_bins(np.array([0.01, 0.09, 0.1, 1.0]), np.array([True, False, True, True]))
    assert [(b.count, b.predicted, b.observed) for b in bins] == [
        (2, pytest.approx(0.05), 0.5),
        (1, 0.1, 1.0),
        (1, 1.0, 1.0),
    ]
    # Wilson 1927, 8 of 10, as tables give it.
    assert wilson(0.8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Normal scores one standard deviation apart: the AUC is 0.7602 = Phi(1 / sqrt 2)."""
    held = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth = np.arange(60) % 2 == 0
        area = scored(1 / (1 + np.exp(-(rng.normal(size=60) + truth))), truth).measures["auc"]
        assert area.low < area.value < area.high
        held += area.low <= 0.7602 <= area.high
    assert held >= 10


def test_images_of_a_study_are_drawn_together():
    """Ten equal images of each of four studies tell no more than one of each."""
    probabilities, truth = [0.9, 0.4, 0.6, 0.2], [1, 1, 0, 0]
    alone = scored(probabilities, truth).measures["auc"]
    together = scored(np.repeat(probabilities, 10), np.repeat(truth, 10), [str(k // 10) for k in range(40)])
    assert together.measures["auc"] == alone
    single = scored(probabilities, truth, ["one"] * 4)
    assert (single.measures["auc"].low, single.resamples) == (None, 0)
    assert single.roc.low is None


def test_one_class_has_no_curve():
    one = scored([0.9, 0.2], [1, 1])
    assert one.measures["auc"].value is None
    assert one.roc is None
    assert one.at_specificity[0.9][1] is None
    assert one.measures["specificity"].value is None
    assert one.measures["sensitivity"].value == 0.5


def test_page_table_and_lines():
    scores = [scored([0.9, 0.6, 0.5, 0.2, 0.05], [1, 0, 1, 1, 0]), scored([0.9, 0.2], [1, 1])]
    page = page_html(scores, ["<script>"], "net & net", "95 % interval").decode()
    assert page.count("<svg") == 3 + 1
    assert "<script>" not in page
    assert "net &amp; net" in page
    header, first, second = score_rows(scores)
    assert dict(zip(header, first))["sensitivity"] == pytest.approx(2 / 3, abs=1e-6)
    assert dict(zip(header, second))["auc"] is None
    lines = score_lines(scores)
    assert lines[0].startswith("needle  per image (3 of 5): AUC 0.667 (")
    assert "AUC n/a" in lines[1]
    assert lines[2] == "95 % interval by bootstrap over studies (2,000 resamples, percentiles)"


def test_many_labels_are_not_all_drawn():
    scores = [scored([0.9, 0.2], [1, 1])] * 41
    page = page_html(scores, [], "net", "").decode()
    assert "Only the first 40 of 41 labels are drawn." in page


# --- truth ----------------------------------------------------------------------------------------------------


def table(path, *rows):
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    return path


def test_tables_of_truth(tmp_path):
    path = table(
        tmp_path / "t.csv",
        ("file", "frame", "needle", "true_pneumonia", "age"),
        ("a.dcm", "", "1", "no", "40"),
        ("m.dcm", "0", "TRUE", "", "50"),
        ("m.dcm", "1", "0.0", "1", "50"),
        ("'=1.dcm", "", "", "", ""),
    )
    found = read_truth(path, ["needle", "pneumonia", "other"])
    assert (found.key, found.labels, found.unused, found.of_images) == (
        "file",
        ("needle", "pneumonia"),
        ("age",),
        True,
    )
    assert found.find("a.dcm", 7) == (("a.dcm", None), {"needle": True, "pneumonia": False})
    assert found.find("m.dcm", 0)[1] == {"needle": True}
    assert found.find("m.dcm", 1)[1] == {"needle": False, "pneumonia": True}
    assert found.find("m.dcm", 2) == (None, {})
    assert found.find("=1.dcm") == (None, {})


def test_tables_of_kaggle(tmp_path):
    rows = [("ID_u1_any", "1"), ("ID_u1_any_other", "0"), ("ID_u2_any", ""), ("ID_u2_1_any", "0"), ("note", "1")]
    found = read_truth(table(tmp_path / "k.csv", ("ID", "Label"), *rows), ["any", "any_other"])
    assert found.find("u1")[1] == {"any": True, "any_other": False}
    assert found.find("u2", 1)[1] == {"any": False}
    assert found.find("ID_u1")[1] == {"any": True, "any_other": False}
    assert found.unused == ("note",)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([("name", "needle"), ("a", "1")], "has no column file, sop", id="no key"),
        pytest.param(
            [("file", "other"), ("a", "1")], "has no column of a label; the labels are needle", id="no label"
        ),
        pytest.param([("file", "needle"), ("a", "2")], "line 2, needle: '2' is neither 0 nor 1", id="not 0 or 1"),
        pytest.param(
            [("file", "needle"), ("a", "1"), ("a", "0")], "line 3: a has other values", id="contradiction"
        ),
        pytest.param([("ID", "Label"), ("a_b", "1")], "no ID ends in one of the labels needle", id="kaggle"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, rows, words):
    with pytest.raises(ConfigError, match=words):
        read_truth(table(tmp_path / "t.csv", *rows), ["needle"])


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as a table"):
        read_truth(tmp_path / "missing.csv", ["needle"])
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as a table"):
        read_truth(tmp_path / "b.csv", ["needle"])
