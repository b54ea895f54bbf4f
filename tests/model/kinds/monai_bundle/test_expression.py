"""Expressions are evaluated from their syntax tree, and nothing else is."""

from __future__ import annotations

import pytest

from itk_infer.model.kinds.monai_bundle.expression import Function, Refused, evaluate

VALUES = {"size": [96, 96, 48], "high": True, "labels#0": "liver", "n": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("len(@size)", 3),
        ("@size[0] // 2 + 1", 49),
        ("'a' if @high else 'b'", "a"),
        ("[1.5, 2] * 2", [1.5, 2, 1.5, 2]),
        ("{'a': -@n, 'b': (1, None)}", {"a": -3, "b": (1, None)}),
        ("@labels#0 + '.pt'", "liver.pt"),
        ("list(range(@n))", [0, 1, 2]),
        ("torch.float32", "float32"),
        ("np.uint8", "uint8"),
        ("monai.utils.CommonKeys.IMAGE", "image"),
        ("not @high or @n >= 3", True),
        ("1 / 4", 0.25),
    ],
)
def test_values(text, value):
    assert evaluate(text, VALUES.__getitem__) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('/tmp/x', 'w')",
        "os.environ",
        "().__class__.__bases__",
        "[x for x in @size]",
        "f'{@n}'",
        "torch.load('x')",
        "'x' * 10 ** 9",
        "'x' * 1000000",
        "[0] * @n * 1000000",
        "range(10000000)",
        "[[[0] * 9999] * 9999] * 9999",
        "[[0] * 9999] * 2 == [[0] * 9999] * 2",
        "{'a': {'b': [0] * 9999}, 'c': [0] * 9999}",
        "9223372036854775807 + 1",
        pytest.param("(" * 500, id="many brackets"),
        pytest.param("1" * 5000, id="a long number"),
        "@missing",
        "1 / 0",
        "len(@n)",
        "@size.copy()",
        "'@n'",
        "numpy.load",
        "(lambda: 0)()",
        "int('9' * 5000)",
    ],
)
def test_what_is_refused(text):
    with pytest.raises(Refused):
        evaluate(text, VALUES.__getitem__)


def test_a_lambda_is_kept_as_text():
    function = evaluate("lambda x : x[1:]", VALUES.__getitem__)
    assert isinstance(function, Function)
    assert str(function) == "lambda x: x[1:]"
