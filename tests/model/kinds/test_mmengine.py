from __future__ import annotations

import gc
import json

import numpy as np
import pytest
from support.loading import mmengine_backend

from itk_infer.errors import ConfigError, ModelError, SpecError
from itk_infer.model.kinds.mmengine_network import quiet_imports
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.spec.intensity import WindowLevel

torch = pytest.importorskip("torch")
pytest.importorskip("mmengine")

WEIGHT = 0.5
RNG = np.random.default_rng(20)


class Scale(torch.nn.Module):
    """One 1x1x1 convolution that multiplies by its weight; `pretrained` is what would be fetched."""

    def __init__(self, dims=3, channels=1, groups=1, pretrained=None, init_cfg=None):
        super().__init__()
        assert pretrained is None
        assert init_cfg is None
        conv = torch.nn.Conv2d if dims == 2 else torch.nn.Conv3d
        self.conv = conv(channels, channels, 1, bias=False, groups=groups)

    def forward(self, inputs):
        return self.conv(inputs)


class Segmentor(torch.nn.Module):
    """All three ways of being called, each told apart by its factor."""

    def __init__(self, dims=3, **scale):
        super().__init__()
        self.backbone = Scale(dims, **scale)
        self.sizes = []

    def encode_decode(self, inputs, batch_img_metas):
        self.sizes.append([meta["img_shape"] for meta in batch_img_metas])
        return self.backbone(inputs) * 10

    def forward(self, inputs, data_samples=None, mode="tensor"):
        assert mode == "tensor"
        return [self.backbone(inputs) * 20, self.backbone(inputs)[..., ::2, ::2] * 99]


class TensorMode(torch.nn.Module):
    def __init__(self, **scale):
        super().__init__()
        self.backbone = Scale(**scale)

    def forward(self, inputs, data_samples=None, mode="predict"):
        assert mode == "tensor"
        logits = self.backbone(inputs) * 20
        return [logits, logits[..., ::2] * 99]


class BackboneOnly(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Scale()

    def forward(self, inputs):
        raise AssertionError("not for inference")


class NoForm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 1, 1, bias=False)

    def forward(self, inputs):
        return inputs


@pytest.fixture(scope="module", autouse=True)
def _registered():
    with quiet_imports():
        from mmengine.registry import MODELS
    for kind in (Scale, Segmentor, TensorMode, BackboneOnly, NoForm):
        MODELS.register_module(name=f"Test{kind.__name__}", module=kind, force=True)


@pytest.fixture
def load(tmp_path):
    """Write a config and its weights; load them."""

    def make(model: str, extra: str = "wl, ww = 0, 1", weights=None, channels=1, dims=3, **options):
        config, checkpoint = tmp_path / "net.py", tmp_path / "net.pth"
        config.write_text(f"model = {model}\n{extra}\n")
        kernel = torch.zeros(channels, channels, *[1] * dims)
        for channel in range(channels):
            kernel[channel, channel] = WEIGHT
        torch.save({"backbone.conv.weight": kernel} if weights is None else weights, checkpoint)
        # As torch runs it: what OpenVINO makes of a network is test_openvino's business.
        options = {
            "device": "cpu",
            "provider": "cpu" if options.get("device", "cpu") == "cpu" else "auto",
            **options,
        }
        return mmengine_backend(config, checkpoint, **options)

    return make


def windows(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# --- call forms -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "factor"), [("TestSegmentor", 10), ("TestTensorMode", 20), ("TestBackboneOnly", 1)]
)
def test_the_first_of_three_call_forms(load, kind, factor):
    given = windows(2, 1, 3, 4, 5)
    answer = load(f"dict(type='{kind}')").forward(given)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, given * WEIGHT * factor, rtol=1e-6)


def test_a_segmentor_is_told_the_size_of_each_window(load):
    backend = load("dict(type='TestSegmentor')")
    backend.forward(windows(2, 1, 3, 4, 5))
    *_, sizes = backend._call.__closure__[0].cell_contents.sizes
    assert sizes == [(3, 4, 5), (3, 4, 5)]


def test_a_network_with_no_such_form_is_an_error_that_says_how_to_wrap_it(load):
    with pytest.raises(ModelError, match=r"NoForm has neither .*Segmentor3D"):
        load("dict(type='TestNoForm')", weights={"conv.weight": torch.ones(1, 1, 1, 1, 1)})


# --- loading ----------------------------------------------------------------------------------


def test_wrong_weights_are_listed(load):
    with pytest.raises(ModelError) as caught:
        load("dict(type='TestBackboneOnly')", weights={"head.bias": torch.ones(1), "head.weight": torch.ones(1)})
    message = str(caught.value)
    assert "1 missing (backbone.conv.weight)" in message
    assert "2 unexpected (head.bias, head.weight)" in message
    with pytest.raises(
        ModelError, match=r"1 of another shape \(backbone.conv.weight \(4, 1, 1\) instead of \(1, 1, 1, 1, 1\)"
    ):
        load("dict(type='TestBackboneOnly')", weights={"backbone.conv.weight": torch.ones(4, 1, 1)})


def test_weights_of_the_only_part_are_loaded_there_and_noted(load):
    backend = load("dict(type='TestBackboneOnly')", weights={"conv.weight": torch.full((1, 1, 1, 1, 1), 7.0)})
    assert any("weights of the model's backbone alone" in note for note in backend.notes)
    np.testing.assert_allclose(backend.forward(np.ones((1, 1, 2, 2, 2), np.float32)), 7)


def test_nothing_pretrained_is_fetched(load):
    unreachable = "dict(type='Pretrained', checkpoint='https://nowhere.invalid/x.pth')"
    load(f"dict(type='TestTensorMode', pretrained='https://nowhere.invalid/y.pth', init_cfg={unreachable})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = dict(type='NoSuchNetwork')", "NoSuchNetwork.*custom_imports"),
        ("model = dict(type='NoSuchNetwork')\ndefault_scope = 'mmseg'", "NoSuchNetwork.*custom_imports"),
        ("model = dict(type='TestScale', nonsense=1)", "TypeError: .*nonsense"),
        ("model = dict(type='no_such_package.Net')", "no_such_package"),
        ("custom_imports = dict(imports=['no_such_package'])\nmodel = dict(type='TestScale')", "no_such_package"),
        ("model = dict(type='torch.Size')", "builds a Size"),
        ("wl = 3", "has no model"),
        ("model = dict(", "cannot be built: .*"),
        ("raise ValueError('out of milk')", "ValueError: out of milk"),
        ("from mmengine.config import read_base\nwith read_base():\n    from .missing import *", "missing"),
    ],
)
# MMEngine leaves its temporary copy of a config open when the config fails.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_a_config_that_describes_no_network_is_said_in_a_sentence(tmp_path, text, message):
    config = tmp_path / "net.py"
    config.write_text(text + "\nwl, ww = 0, 1\n")
    with pytest.raises(ModelError, match=message) as caught:
        mmengine_backend(config, tmp_path / "net.pth", device="cpu")
    sentence = str(caught.value)
    del caught
    gc.collect()
    assert str(config) in sentence
    assert "\n" not in sentence


def test_a_missing_config_and_a_missing_checkpoint(tmp_path):
    config = tmp_path / "net.py"
    with pytest.raises(ModelError, match="no such config"):
        mmengine_backend(config, tmp_path / "net.pth", device="cpu")
    config.write_text("model = dict(type='TestScale')\nwl, ww = 0, 1\n")
    with pytest.raises(ModelError, match="no such checkpoint"):
        mmengine_backend(config, tmp_path / "net.pth", device="cpu")


def test_custom_imports_register_a_network(tmp_path, monkeypatch, load):
    (tmp_path / "networks_of_a_user.py").write_text(
        "from mmengine.registry import MODELS\n"
        "from torch import nn\n"
        "@MODELS.register_module()\n"
        "class OfAUser(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.backbone = nn.Sequential()\n"
        "        self.backbone.conv = nn.Conv3d(1, 1, 1, bias=False)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    extra = "custom_imports = dict(imports=['networks_of_a_user'])\nwl, ww = 0, 1"
    backend = load("dict(type='OfAUser')", extra)
    np.testing.assert_allclose(backend.forward(np.ones((1, 1, 2, 2, 2), np.float32)), WEIGHT)


def test_loading_and_running_prints_nothing_and_leaves_no_default_scope(load, capfd):
    from mmengine.registry import DefaultScope

    before = DefaultScope.get_current_instance()
    load("dict(type='TestTensorMode')").forward(windows(1, 1, 2, 2, 2))
    assert DefaultScope.get_current_instance() is before
    assert capfd.readouterr() == ("", "")


def test_the_digest_follows_weights_and_config(load):
    model = "dict(type='TestBackboneOnly')"
    first = load(model).digest
    assert load(model).digest == first
    assert load(model, "wl, ww = 0, 2").digest != first
    assert load(model, weights={"backbone.conv.weight": torch.ones(1, 1, 1, 1, 1)}).digest != first


# --- device and spec --------------------------------------------------------------------------


def test_sidecars_stand_above_the_config_and_the_command_line_above_all(load, tmp_path):
    model = "dict(type='TestTensorMode')"
    sidecar = {"window": {"patch_size": [8, 8, 8], "patch_stride": [2, 2, 2]}, "name": "from the sidecar"}
    (tmp_path / "net.spec.json").write_text(json.dumps(sidecar))
    extra = "wl, ww = 40, 400\nitk_infer = dict(name='from the config', window=dict(patch_stride=[4, 4, 4]))"
    backend = load(model, extra, sources=SpecSources(overrides=Options(window_level=50)))
    assert backend.spec.name == "from the sidecar"
    assert backend.spec.window.patch_stride == (2, 2, 2)
    assert backend.spec.input.intensity == (WindowLevel(50, 400),)


def test_a_config_silent_about_intensities_needs_the_command_line(load):
    with pytest.raises(ConfigError, match="`window_level`/`window_width`"):
        load("dict(type='TestBackboneOnly')", extra="")
    with pytest.raises(SpecError, match=r"net\.py, itk_infer: unknown key blend; did you mean"):
        load("dict(type='TestBackboneOnly')", extra="itk_infer = dict(blend='gaussian')")


# --- the stand-in for mmcv's compiled operations ----------------------------------------------


def test_the_stand_in_deceives_nobody_and_fails_only_when_called(load):
    pytest.importorskip("mmcv")
    import importlib.util
    import sys

    if importlib.util.find_spec("mmcv._ext"):
        pytest.skip("this mmcv has compiled operations")
    load("dict(type='TestBackboneOnly')")
    assert "mmcv._ext" not in sys.modules
    assert importlib.util.find_spec("mmcv._ext") is None
    from mmcv.ops import nms

    with pytest.raises(RuntimeError, match="mmcv's compiled operation nms"):
        nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5)
