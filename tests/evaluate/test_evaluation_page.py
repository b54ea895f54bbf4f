"""Tables and page: every value, and every name escaped."""

from __future__ import annotations

import csv
import io
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from itk_infer.evaluate.page import page_html
from itk_infer.evaluate.plots import BoxRow, bland_altman, box_plot
from itk_infer.evaluate.scores import DEFINITION, METRICS, CaseScores, LabelScores, LesionCounts, completed
from itk_infer.evaluate.summary import summarise
from itk_infer.evaluate.tables import cases_csv, summary_csv, summary_text

NASTY = '<script>alert("1, 2")</script>'


def label(name, dice, hd95, mask_ml=2.0, truth_ml=1.0, lesions=None):
    return LabelScores(
        name, 1, 1, "value", mask_ml, truth_ml, 2.0, dice, dice, dice, dice, hd95, hd95, dice, hd95, lesions
    )


@pytest.fixture
def cases():
    return completed(
        [
            CaseScores(f"{NASTY} one", (label(NASTY, 0.5, 3.0, lesions=LesionCounts(2, 3, 1)),), 50.0),
            CaseScores("=two", (label(NASTY, 0.0, math.inf, mask_ml=0.0),), 50.0, ("was <b>resampled</b>",)),
            CaseScores("three", (label("spleen", 0.25, 1.0),), 50.0),
        ]
    )


def read(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_the_table_of_cases(cases):
    rows = read(cases_csv(cases, DEFINITION))
    assert len(rows) == 6
    assert {row["definition"] for row in rows} == {DEFINITION}
    first, absent, missed = rows[0], rows[1], rows[2]
    assert (first["case"], first["label"], first["state"]) == (f"{NASTY} one", NASTY, "found")
    assert (first["dice"], first["hd95_mm"], first["volume_error_ml"], first["volume_error"]) == (
        "0.5",
        "3",
        "1",
        "1",
    )
    assert (first["lesions_truth"], first["lesions_mask"], first["lesions_matched"]) == ("2", "3", "1")
    assert (absent["state"], absent["dice"], absent["mask_value"], absent["lesions_mask"]) == (
        "absent",
        "",
        "",
        "",
    )
    assert (missed["case"], missed["state"], missed["hd95_mm"]) == ("'=two", "missed", "inf")
    assert (missed["volume_error_ml"], missed["notes"]) == ("-1", "was <b>resampled</b>")
    assert "lesions_mask" not in read(cases_csv(cases[1:], DEFINITION))[0]


def test_the_table_of_means(cases):
    rows = read(summary_csv(summarise(cases), DEFINITION))
    assert len(rows) == 2 * len(METRICS)
    hd95 = next(row for row in rows if row["metric"] == "HD95" and row["label"] == NASTY)
    assert (hd95["mean"], hd95["rule"], hd95["missed"]) == ("3", "mean over 1 found of 2", "1")
    assert hd95["mean_with_misses_at_image_diagonal"] == "26.5"
    dice = next(row for row in rows if row["metric"] == "Dice" and row["label"] == NASTY)
    assert (dice["mean"], dice["low_95"], dice["high_95"], dice["cases"]) == ("0.25", "0", "0.5", "2")
    assert dice["definition"] == DEFINITION


def test_the_text(cases):
    lines = summary_text(summarise(cases), DEFINITION)
    assert "Dice 0.250 (0.000 to 0.500)" in lines[0]
    assert "HD95 3.00 mm, mean over 1 found of 2; 26.50 with misses at the image diagonal" in lines[0]
    assert lines[0].endswith("1 found, 1 missed, 1 absent")
    assert lines[1].strip() == "lesions: 1 of 2 matched, 2 false"
    assert lines[-1] == f"surfaces: {DEFINITION}"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.all, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.all.append(tag)
        self.attributes += [value for _, value in attrs if value]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.all.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_escaped_and_alone(cases):
    text = page_html(cases, summarise(cases), {NASTY: f"broken {NASTY}"}, [f"left {NASTY}"], DEFINITION).decode()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert not {"script", "b", "img", "link", "iframe"} & set(tags.all)
    assert not [value for value in tags.attributes if "//" in value and "w3.org" not in value]
    assert not re.search(r"url\(|@import|javascript:", text)
    assert tags.all.count("svg") == 3 + 2  # a box plot per metric, a plot of volumes per label
    assert DEFINITION in text
    # The worst case first.
    assert text.index("=two</td>") < text.index("three</td>") < text.index("one</td>")


def drawn(text):
    root = ElementTree.fromstring(text)
    return root, {node.get("class"): node.get("d") for node in root.iter() if node.get("class")}


def test_a_box_spans_the_quartiles():
    root, paths = drawn(box_plot([BoxRow(NASTY, [0.0, 0.25, 0.5, 0.75, 1.0], 2)], "Dice", 1.0))
    box = next(node for node in root.iter() if node.get("class") == "box")
    left, right = map(float, re.fullmatch(r"M([\d.]+) \S+H([\d.]+)", paths["whisker"]).groups())
    assert float(box.get("x")) == pytest.approx(left + (right - left) / 4, abs=0.2)
    assert float(box.get("width")) == pytest.approx((right - left) / 2, abs=0.2)
    assert paths["dots"].count("M") == 5
    assert "+ 2 inf" in "".join(root.itertext())


def test_many_rows_and_none():
    assert "(50 more labels are in the table)" in box_plot([BoxRow(f"{i}", [1.0]) for i in range(200)], "mm")
    drawn(box_plot([], "mm"))
    drawn(box_plot([BoxRow("nothing", [])], "mm"))


def test_limits_of_agreement():
    root, _ = drawn(bland_altman([10.0, 20.0, 30.0], [11.0, 21.0, 34.0], "liver"))
    words = "".join(root.itertext())
    # Differences 1, 1, 4: mean 2, standard deviation sqrt(3).
    assert "mean difference 2, limits -1.39 to 5.39" in words
    drawn(bland_altman([1.0], [1.0], NASTY))
    drawn(bland_altman([0.0, 0.0], [0.0, 0.0], "nothing"))
