"""Checkpoints of nnU-Net: read safely, loaded strictly."""

from __future__ import annotations

import os
import re
import zipfile

import numpy as np
import pytest
from support.nnunet_folder import DATASET, architecture, checkpoint, plans, random_state

from itk_infer.errors import ModelError

torch = pytest.importorskip("torch", reason="needs the nnunet extra")

from itk_infer.model.kinds.nnunet.architecture import read_architecture  # noqa: E402
from itk_infer.model.kinds.nnunet.json_block import JsonBlock  # noqa: E402
from itk_infer.model.kinds.nnunet.networks import build  # noqa: E402
from itk_infer.model.kinds.nnunet.weights import channels, load_strictly, read_checkpoint  # noqa: E402

ABOUT = read_architecture(JsonBlock({"architecture": architecture()}, "plans.json"), 3)
STATE = random_state(architecture())


def saved(path, content):
    torch.save(content, path)
    return path


def test_a_checkpoint(tmp_path):
    path = saved(tmp_path / "c.pth", checkpoint(STATE, plans=plans(), dataset=DATASET, axes=(2, 0), trainer="Own"))
    assert {"numpy.dtype", "numpy._core.multiarray.scalar"} <= set(
        torch.serialization.get_unsafe_globals_in_checkpoint(path)
    )  # else this proves nothing
    found = read_checkpoint(path)
    assert (found.trainer, found.configuration, found.mirror_axes) == ("Own", "3d_fullres", (0, 2))
    assert (found.plans, found.dataset) == (plans(), DATASET)
    assert channels(found) == (1, 3)
    # 3 convolutions with norms, 1 transposed, 1 head; the former twice, the encoder's 2 four times
    assert len(STATE) == 44
    assert len(found.weights) == 16
    assert not [name for name in found.weights if "all_modules" in name or name.startswith("decoder.encoder")]


@pytest.mark.parametrize("form", ["numpy 1", "DType classes"])
def test_numpy_numbers_under_other_names(tmp_path, form):
    """NumPy 1 wrote another module; types of numbers can be named by their classes."""
    more = {"kind": np.dtypes.Float64DType} if form == "DType classes" else {}
    path = saved(tmp_path / "new.pth", checkpoint(STATE, more=more))
    if form == "numpy 1":
        with zipfile.ZipFile(path) as read, zipfile.ZipFile(tmp_path / "old.pth", "w") as write:
            for entry in read.namelist():
                write.writestr(entry, read.read(entry).replace(b"numpy._core.", b"numpy.core."))
        path = tmp_path / "old.pth"
    assert read_checkpoint(path).trainer == "nnUNetTrainer"


@pytest.mark.parametrize("axes", [None, (), "absent"], ids=["none", "empty", "absent"])
def test_no_mirror_axes(tmp_path, axes):
    content = checkpoint(STATE, axes=axes)
    if axes == "absent":  # in the oldest checkpoints
        del content["inference_allowed_mirroring_axes"]
    assert read_checkpoint(saved(tmp_path / "c.pth", content)).mirror_axes == ()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_left_out(tmp_path, prefix):
    path = saved(tmp_path / "c.pth", checkpoint({prefix + name: value for name, value in STATE.items()}))
    assert read_checkpoint(path).weights.keys() == read_checkpoint(saved(path, checkpoint(STATE))).weights.keys()


class Call:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def test_a_checkpoint_that_runs_code_is_refused_and_runs_nothing(tmp_path):
    marker = tmp_path / "marker"
    path = saved(tmp_path / "c.pth", checkpoint(STATE, evil=Call(os.mkdir, str(marker))))
    with pytest.raises(ModelError, match=r"c\.pth: refused, because loading it would call posix\.mkdir"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": STATE}, r"not a checkpoint of nnU-Net v2.*a mapping with the keys state_dict"),
        (STATE, "not a checkpoint of nnU-Net v2"),
        ({"network_weights": {}}, "not a checkpoint of nnU-Net v2"),
        (torch.ones(2), "but a Tensor"),
        ({"network_weights": {**STATE, "x": 1}}, "x in network_weights is no tensor"),
        (checkpoint(STATE, axes=(0, 3)), r"inference_allowed_mirroring_axes is \(0, 3\)"),
    ],
    ids=["another program", "plain", "empty", "a tensor", "a number", "axes"],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(ModelError, match=message):
        read_checkpoint(saved(tmp_path / "c.pth", content))


def test_a_file_that_was_cut_short(tmp_path):
    path = saved(tmp_path / "c.pth", checkpoint(STATE))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ModelError, match=r"c\.pth: cannot be read as a checkpoint"):
        read_checkpoint(path)


def loaded(tmp_path, state, about=ABOUT, **more):
    network = build(about, 1, 3)
    load_strictly(network, read_checkpoint(saved(tmp_path / "c.pth", checkpoint(state, **more))), about)
    return network


def test_weights_are_loaded(tmp_path):
    network = loaded(tmp_path, STATE)
    for name, value in network.state_dict().items():
        assert torch.equal(value, STATE[name])
    assert network.encoder.stages[0][0].convs[0].conv.bias is None


def test_weights_in_half_precision_become_single(tmp_path):
    network = loaded(tmp_path, {name: value.half() for name, value in STATE.items()})
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("decoder.transpconvs.0.bias"), r"1 missing \(decoder\.transpconvs\.0\.bias\)"),
        (lambda s: s.update({f"organ.{i}": torch.ones(1) for i in range(5)}),
         r"5 unexpected \(organ\.0, organ\.1, organ\.2, \.\.\.\)"),
        (lambda s: s.update({"encoder.stages.0.0.convs.0.conv.bias": torch.ones(5)}),
         r"1 of another shape \(encoder\.stages\.0\.0\.convs\.0\.conv\.bias \(5,\) instead of \(4,\)\)"),
    ],
    ids=["missing", "unexpected", "shape"],
)  # fmt: skip
def test_weights_of_another_network_are_refused(tmp_path, change, message):
    state = dict(STATE)
    change(state)
    with pytest.raises(ModelError, match=message) as caught:
        loaded(tmp_path, state, trainer="nnUNetTrainerOrgan", name="3d_lowres")
    assert re.search(
        "PlainConvUNet that the plans describe for 3d_lowres.*trained by nnUNetTrainerOrgan; a trainer that changes",
        str(caught.value),
    )
