"""References, components and what is switched off."""

from __future__ import annotations

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import Component, ConfigGraph
from itk_infer.model.kinds.monai_bundle.values import components


def graph(**content):
    return ConfigGraph(content, "inference.json")


def test_references_are_followed_through_lists_mappings_and_each_other():
    found = graph(a={"b": [1, "@c"]}, c="@d::e", d={"e": 7}, macro="%a#b#0", through="@f#b#1", f="@a")
    assert found.get("a") == {"b": [1, 7]}
    assert found.get("macro") == 1
    assert found.get("through") == 7


@pytest.mark.parametrize(
    "content",
    [{"a": "@a"}, {"a": "@b", "b": "$[@a]"}, {"a": {"x": "@a"}}, {"a": "@b#x", "b": "@a#x"}],
    ids=["itself", "in an expression", "inside", "through each other"],
)
def test_a_circle_is_refused(content):
    with pytest.raises(ModelError, match="refers to itself"):
        ConfigGraph(content, "inference.json").get("a")


def test_references_that_grow_are_refused():
    """Each of thirty names holds the one before twice: a thousand million values."""
    content = {"a0": [1, 1]} | {f"a{n}": [f"@a{n - 1}", f"@a{n - 1}"] for n in range(1, 30)}
    with pytest.raises(ModelError, match="lead to more than"):
        ConfigGraph(content, "inference.json").get("a29")


def test_expressions_that_grow_are_refused():
    content = {"a": "$[0] * 9999", "b": ["@a"] * 20}
    with pytest.raises(ModelError, match="lead to more than"):
        ConfigGraph(content, "inference.json").get("b")


@pytest.mark.parametrize("text", ["@a{}", "@a{}#x", "$@a{}"], ids=["references", "paths", "expressions"])
def test_references_have_a_depth(text):
    """Ten thousand names, each the value of the one before."""
    content = {f"a{n}": text.format(n + 1) for n in range(10_000)}
    with pytest.raises(ModelError, match=r"more than 100 levels deep|is refused"):
        ConfigGraph(content, "inference.json").get("a0")


def test_a_compose_in_itself_is_refused():
    found = graph(a={"_target_": "Compose", "transforms": ["@a"]})
    with pytest.raises(ModelError, match="Compose is in itself"):
        components(found.get("a"), "a", "inference.json")


def test_components_are_never_built():
    found = graph(x={"_target_": "os.system", "command": "$open('x')"}).get("x")
    assert isinstance(found, Component)
    assert found.name == "os.system"
    assert graph(x={"_target_": "monai.networks.nets.UNet"}).get("x").name == "UNet"
    with pytest.raises(ModelError, match="x#command: the expression .* is refused"):
        found.argument("command")


def test_what_is_switched_off_is_left_out():
    off = [{"_target_": "A", "_disabled_": value} for value in (True, "true", "$1 > 0")]
    on = {"_target_": "B", "_disabled_": "False", "_desc_": "words", "_requires_": "@nothing"}
    assert [item.name for item in graph(x=[*off, on]).get("x")] == ["B"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("@nothing", "is not there"),
        ("%other.json#a", "another file"),
        ({"_target_": 3}, "must be a name"),
        ({"_target_": "A", "_mode_": "callable"}, "_mode_ callable"),
    ],
    ids=["missing", "file", "target", "mode"],
)
def test_what_is_refused(value, words):
    with pytest.raises(ModelError, match=words):
        graph(x=value).get("x")
