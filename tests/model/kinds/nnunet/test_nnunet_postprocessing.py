from __future__ import annotations

import json

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.postprocessing import KEEP_LARGEST, find_postprocessing, read_postprocessing

UNION = {"op": "keep_largest", "labels": [1, 2], "group": True, "connectivity": 26}


@pytest.fixture
def write(tmp_path):
    def write(content, folder="crossval_results_folds_0_1"):
        path = tmp_path / folder / "postprocessing.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return write


def content(*labels):
    return {
        "postprocessing_fns": [KEEP_LARGEST] * len(labels),
        "postprocessing_kwargs": [{"labels_or_regions": given} for given in labels],
        "input_folder": {},
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param([[1, 2]], [UNION], id="all foreground"),
        pytest.param([[[1, 2]]], [UNION], id="a region"),
        pytest.param([[[1], [1, 2]]], [UNION], id="regions"),
        pytest.param([2], [{**UNION, "labels": [2]}], id="a label"),
        pytest.param([[1], 2], [{**UNION, "labels": [1]}, {**UNION, "labels": [2]}], id="two steps"),
        pytest.param([[1, 9]], [{**UNION, "labels": [1]}], id="a value that is never written"),
        pytest.param([9], [], id="only such"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_rules(write, labels, expected):
    assert read_postprocessing(write(content(*labels)), [1, 2]) == expected
    painted = [{**rule, "painted": True} for rule in expected]
    assert read_postprocessing(write(content(*labels)), [1, 2], regions=True) == painted


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"postprocessing_fns": ["os.system"]}, "os.system with .* is not known here", id="function"),
        pytest.param({"postprocessing_kwargs": [{"background_label": 3}]}, "is not known here", id="keyword"),
        pytest.param({"postprocessing_kwargs": []}, "of one length", id="lengths"),
        pytest.param({"postprocessing_fns": None}, "holds no lists", id="no list"),
        pytest.param({"postprocessing_kwargs": [{"labels_or_regions": ["a"]}]}, "holds 'a'", id="label"),
        pytest.param({"postprocessing_kwargs": [{"labels_or_regions": [True]}]}, "holds True", id="truth value"),
    ],
)
def test_what_is_not_understood(write, changed, message):
    with pytest.raises(ModelError, match=message):
        read_postprocessing(write({**content([1]), **changed}), [1])


def test_no_object(write):
    with pytest.raises(ModelError, match="is not a JSON object"):
        read_postprocessing(write([]), [1])


def test_the_file_of_the_folds_that_are_run(write, tmp_path):
    assert find_postprocessing(tmp_path, ["0"]) is None
    two = write(content())
    assert find_postprocessing(tmp_path, ["0"]) == two
    one = write(content(), "crossval_results_folds_0")
    assert find_postprocessing(tmp_path, ["0"]) == one
    assert find_postprocessing(tmp_path, ["0", "1"]) == two
    with pytest.raises(ModelError, match="has several postprocessing.json .*and none is of the folds 1 alone"):
        find_postprocessing(tmp_path, ["1"])
