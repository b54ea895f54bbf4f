"""What output channels mean, by dataset.json."""

from __future__ import annotations

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.labels import read_labels


def read(labels, **more):
    return read_labels({"labels": labels, **more}, "dataset.json")


def painted(labels):
    return [(label.name, label.channel, label.value) for label in labels.painted]


def test_plain_labels():
    found = read({"background": 0, "b": 2, "a": 1})
    assert painted(found) == [("a", 1, 1), ("b", 2, 2)]
    assert (found.channels, found.foreground, found.regions, found.notes) == (3, (1, 2), False, ())


def test_gaps_are_closed_as_nnunet_does_and_said():
    found = read({"background": 0, "a": 4, "b": [7], "c": 1})
    assert painted(found) == [("c", 1, 1), ("a", 2, 2), ("b", 3, 3)]
    assert found.foreground == (1, 4, 7)
    assert found.notes == (
        "label values have gaps, and nnU-Net numbers labels without: it writes a 4 as 2, b 7 as 3",
    )


def test_what_is_ignored_has_no_channel():
    found = read({"background": 0, "a": 1, "ignore": 2})
    assert painted(found) == [("a", 1, 1)]
    assert found.channels == 2


def test_two_names_of_one_value_are_one_label():
    assert painted(read({"background": 0, "a": 1, "b": 1})) == [("a / b", 1, 1)]


def test_regions_are_painted_in_their_own_order():
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4, "active": 3}
    found = read(labels, regions_class_order=[3, 1, 2])
    assert painted(found) == [("whole", 0, 3), ("core", 1, 1), ("active", 2, 2)]
    assert (found.channels, found.foreground, found.regions) == (3, (1, 2, 3), True)


def test_regions_that_are_written_as_one_value_are_one_label():
    """As nnU-Net writes them: the value is painted at both places of the order."""
    labels = {"background": 0, "left": [1, 2], "tumour": [2, 4], "right": [3, 4]}
    found = read(labels, regions_class_order=[1, 2, 1])
    assert painted(found) == [("left / right", 0, 1), ("tumour", 1, 2), ("left / right", 2, 1)]
    assert (found.channels, found.foreground) == (3, (1, 2, 3, 4))
    assert found.notes == ("regions_class_order writes left and right as one value, 1: they are one label here",)


@pytest.mark.parametrize(
    ("labels", "order", "message"),
    [
        ({"0": "background", "1": "a"}, None, "listed as in nnU-Net v1"),
        ({"a": 1}, None, "background is missing, and the value 0 is needed"),
        ({"background": 1, "a": 2}, None, "background is '1', and the value 0"),
        ({"background": 0, "a": "x"}, None, "a is 'x', and a whole number or a list"),
        ({"background": 0, "a": []}, None, "a is .*a whole number or a list"),
        ({"background": 0, "a": -1}, None, "must be 0 or above, and -1"),
        ([], None, "labels is .*an object is needed"),
        ({"background": 0, "a": [1, 2], "b": 2}, None, "regions_class_order is missing"),
        ({"background": 0, "a": [1, 2], "b": 2}, [1], "has 1 entries for 2 regions"),
        ({"background": 0, "a": [1, 2], "b": 2}, [0, 1], "regions_class_order holds 0"),
    ],
)
def test_labels_that_cannot_be_used(labels, order, message):
    with pytest.raises(ModelError, match=message) as caught:
        read(labels, **({} if order is None else {"regions_class_order": order}))
    assert str(caught.value).startswith("dataset.json")
