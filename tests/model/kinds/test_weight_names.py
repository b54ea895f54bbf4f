"""Names in checkpoints that wrappers and training programs have lengthened."""

from __future__ import annotations

from pathlib import Path

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.weight_names import fit_names

OWN = ("backbone.conv.weight", "backbone.conv.bias", "head.weight")
PATH = Path("net.pth")


def fit(names, own=OWN, parts=("backbone", "head")):
    """What is loaded under the network's names, as the checkpoint calls it; and the notes."""
    found, notes = fit_names({name: name for name in names}, own, parts, PATH)
    return dict(found), notes


def test_names_that_fit_are_left_alone():
    assert fit(OWN) == ({name: name for name in OWN}, [])
    own = ("module.a", "module._orig_mod.b")  # a network may have parts of these names
    assert fit(own, own, ("module",)) == ({name: name for name in own}, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda n: f"module.{n}", ["left module. (DistributedDataParallel)"], id="ddp"),
        pytest.param(lambda n: f"_orig_mod.{n}", ["left _orig_mod. (torch.compile)"], id="compiled"),
        pytest.param(
            lambda n: f"_orig_mod.module.{n}", ["left module. (DistributedDataParallel) and _orig_mod."], id="both"
        ),
        pytest.param(
            lambda n: n.replace("backbone.", "backbone._orig_mod."), ["_orig_mod."], id="a part compiled"
        ),
        pytest.param(lambda n: n.replace("conv.", "conv.module."), ["module."], id="a part deep inside"),
        pytest.param(lambda n: f"module.{n}" if "bias" in n else n, ["module."], id="some names only"),
        pytest.param(lambda n: f"model.{n}", ["left the prefix model. out"], id="lightning"),
        pytest.param(lambda n: f"ema.{n}", ["left the prefix ema. out"], id="averaged"),
        pytest.param(lambda n: f"student.net.{n}", ["left the prefix student.net. out"], id="two levels"),
        pytest.param(
            lambda n: f"model._orig_mod.{n}",
            ["_orig_mod.", "left the prefix model. out"],
            id="lightning, compiled",
        ),
    ],
)
def test_prefixes_are_left_out_and_named(change, words):
    found, notes = fit([change(name) for name in OWN])
    assert found == dict(zip(OWN, map(change, OWN)))
    assert len(notes) == len(words)
    assert all(note.startswith("net.pth: ") and word in note for note, word in zip(notes, words))


def test_what_a_training_program_keeps_beside_the_network_is_named():
    found, notes = fit([*(f"model.{name}" for name in OWN), "loss.weight", "metric.total"])
    assert set(found) == set(OWN)
    assert notes == [
        "net.pth: left the prefix model. out of names, and did not load 2 weights without it (loss.weight, metric.total)"
    ]


def test_weights_of_the_only_part_fit_whatever_they_are_called():
    own = ("network.a.weight", "network.b.weight")
    for prefix in ("", "module.", "_orig_mod.", "model."):
        found, notes = fit([f"{prefix}a.weight", f"{prefix}b.weight"], own, ("network",))
        assert found == {name: name.replace("network.", prefix) for name in own}
        assert notes[-1] == "net.pth holds the weights of the model's network alone: loaded there"


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([*OWN, "loss.weight"], id="more than the network has"),
        pytest.param([*OWN, "head.bias"], id="more inside"),
        pytest.param(OWN[:2], id="less"),
        pytest.param([*(f"model.{name}" for name in OWN), "model.extra.weight"], id="more under the prefix"),
        pytest.param([*(f"module.{name}" for name in OWN), "module.extra"], id="more, wrapped"),
    ],
)
def test_other_weights_are_not_made_to_fit(names):
    found, _ = fit(names)
    assert set(found) != set(OWN)


def test_the_nearest_names_are_left_for_the_message():
    found, _ = fit(["model.net.backbone.conv.weight", "model.net.backbone.conv.bias"])
    assert set(found) == {"backbone.conv.weight", "backbone.conv.bias"}
    assert set(fit(["other.weight", "other.bias"])[0]) == {"other.weight", "other.bias"}


def test_several_sets_of_weights_are_refused():
    names = [f"{prefix}.{name}" for prefix in ("student", "teacher") for name in OWN]
    with pytest.raises(ModelError, match=r"net\.pth: holds .* several times, under student\. and teacher\.; save"):
        fit(names)
