"""Labels are matched by name, then by value, and what is not compared is said."""

from __future__ import annotations

from itk_infer.evaluate.label_match import LabelPair, NamedLabel, match_labels


def table(**values):
    return {value: NamedLabel(value, name) for name, value in values.items()}


def test_without_tables_values_are_matched():
    pairs, notes = match_labels({}, {}, [1, 7], [1, 2])
    assert pairs == [LabelPair(f"label {value}", value, value, "value") for value in (1, 2, 7)]
    assert notes == []


def test_names_come_before_values():
    pairs, notes = match_labels(table(liver=1, spleen=2), table(spleen=1, Liver=2), [1, 2], [1, 2])
    assert [(pair.name, pair.mask, pair.truth, pair.matched_by) for pair in pairs] == [
        ("liver", 1, 2, "name"),
        ("spleen", 2, 1, "name"),
    ]
    assert notes == []


def test_a_table_on_one_side_gives_the_names():
    for tables in ((table(liver=3), {}), ({}, table(liver=3))):
        pairs, notes = match_labels(*tables, [3], [3])
        assert (pairs, notes) == ([LabelPair("liver", 3, 3, "value")], [])


def test_one_value_with_two_names_is_not_compared():
    pairs, notes = match_labels(table(liver=1), table(spleen=1), [1], [1])
    assert pairs == []
    assert notes == ["value 1 is liver in the masks and spleen in the truths: not compared"]


def test_labels_of_one_table_only_are_named():
    pairs, notes = match_labels(table(liver=1, aorta=4), table(liver=1, spleen=5), [1, 4, 8], [1, 5])
    assert [pair.name for pair in pairs] == ["liver"]
    assert notes == [
        "value 4 (aorta) is in the masks' labels only: not compared",
        "value 5 (spleen) is in the truths' labels only: not compared",
        "value 8 is in the masks' labels only: not compared",
    ]


def test_a_value_that_a_name_has_taken_is_not_matched_again():
    # The truths' 2 is the liver; what the masks call 2 has no counterpart.
    pairs, notes = match_labels(table(liver=1), table(liver=2), [1, 2], [2])
    assert [(pair.mask, pair.truth) for pair in pairs] == [(1, 2)]
    assert notes == ["value 2 is in the masks' labels only: not compared"]


def test_tolerances_come_from_either_table():
    ours, theirs = {1: NamedLabel(1, "a")}, {1: NamedLabel(1, "a", 3.0)}
    assert match_labels(ours, theirs, [], [])[0][0].tolerance_mm == 3.0
    ours[1] = NamedLabel(1, "a", 1.0)
    assert match_labels(ours, theirs, [], [])[0][0].tolerance_mm == 1.0
    assert match_labels({}, {2: NamedLabel(2, "b", 4.0)}, [], [2])[0][0].tolerance_mm == 4.0
