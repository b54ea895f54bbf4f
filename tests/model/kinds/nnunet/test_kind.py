"""Model folders of nnU-Net as backends; real ones against the package that nnU-Net uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.nnunet_folder import architecture, configuration, plans, random_state, write_model

from itk_infer.errors import ConfigError, ModelError
from itk_infer.model.registry import load_backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.spec import ModelSpec, WindowSpec

torch = pytest.importorskip("torch", reason="needs the nnunet extra")

from itk_infer.model.kinds.nnunet import kind as kind_module  # noqa: E402
from itk_infer.model.kinds.nnunet.kind import build_network  # noqa: E402
from itk_infer.model.kinds.nnunet.model import read_model  # noqa: E402

NO_REFERENCE = "needs dynamic-network-architectures (pip install --no-deps dynamic-network-architectures==0.4.4)"


@pytest.fixture
def documents(monkeypatch):
    """The documents that the spec is made from; the spec itself has the patch only."""
    seen = []

    def resolve(found, overrides):
        seen.extend(found)
        patch = tuple(found[0].content["window"]["patch_size"])
        return ModelSpec(window=replace(WindowSpec(), patch_size=patch)), ["a note of the spec"]

    monkeypatch.setattr(kind_module, "resolve", resolve)
    return seen


def load(path, **options):
    return load_backend("nnunet", (path,), SpecSources(), Options(device="cpu", **options))


def test_a_backend(tmp_path, documents):
    root = write_model(tmp_path / "m", ("0", "1"))
    (tmp_path / "m.spec.json").write_text('{"name": "own"}')
    backend = load(root, provider="cpu")
    assert (backend.shape.channels_in, backend.shape.channels_out, backend.shape.size) == (
        1,
        3,
        (None, None, None),
    )
    assert [document.name for document in documents] == [
        f"{root} (plans and dataset)",
        str(tmp_path / "m.spec.json"),
    ]
    assert backend.notes[-1] == "a note of the spec"
    assert "folds 0 and 1 are used, and their logits averaged" in backend.notes

    windows = np.random.default_rng(1).standard_normal((2, 1, 8, 16, 12), np.float32)
    single = [load(root, provider="cpu", folds=fold).forward(windows) for fold in (0, 1)]
    np.testing.assert_allclose(backend.forward(windows), (single[0] + single[1]) / 2, atol=1e-6)
    assert np.abs(single[0] - single[1]).max() > 0.1


def test_openvino_runs_the_mean_of_folds_as_one_network(tmp_path, documents):
    pytest.importorskip("openvino")
    root = write_model(tmp_path / "m", ("0", "1"))
    windows = np.random.default_rng(2).standard_normal((1, 1, 8, 16, 12), np.float32)
    compiled = load(root, provider="openvino")
    np.testing.assert_allclose(compiled.forward(windows), load(root, provider="cpu").forward(windows), atol=1e-4)
    assert compiled.provider == "openvino"


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_the_trace_of_a_small_window_is_right_for_every_size(tmp_path, documents, name, dims):
    pytest.importorskip("openvino")
    strides = [[1, 1, 1], [1, 2, 4], [2, 2, 1]]
    about = architecture(
        dims, name, n_stages=3, features_per_stage=[4, 6, 8], kernel_sizes=[[3] * dims] * 3,
        strides=[stride[-dims:] for stride in strides], n_conv_per_stage_decoder=[1, 1],
        **{"n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage": [1, 1, 1]},
    )  # fmt: skip
    plan = plans({"3d_fullres": configuration(dims, architecture=about)})
    axes = tuple(range(dims))
    root = write_model(tmp_path / "m", plan=plan, state=random_state(about, dims), axes=axes)
    compiled, eager = load(root, provider="openvino"), load(root, provider="cpu")
    depth = 1 if dims == 2 else 8
    for shape in ((2, 1, depth, 16, 12), (1, 1, depth, 8, 32)):
        windows = np.random.default_rng(2).standard_normal(shape, np.float32)
        np.testing.assert_allclose(compiled.forward(windows), eager.forward(windows), atol=1e-4)
    assert compiled.provider == "openvino"


def test_options_choose_folds_and_checkpoint(tmp_path, documents):
    root = write_model(tmp_path / "m", ("0", "1"), ("final", "best"))
    assert load(root, folds=1).digest == load(root / "fold_1").digest
    assert load(root, checkpoint="final").digest == load(root).digest
    with pytest.raises(ModelError, match="there is no fold 4; there is 0 and 1"):
        load(root, folds=(4,))


def test_other_kinds_have_no_folds(tmp_path, configs):
    demo = configs.parent / "itk_infer" / "demo" / "hippocampus_unet.onnx"
    for option, words in (({"folds": 0}, "no folds"), ({"checkpoint": "best"}, "no checkpoints to choose from")):
        with pytest.raises(
            ConfigError, match=f"is for nnunet models; this onnx model has {words}, so leave it out"
        ):
            load_backend("onnx", (demo,), SpecSources(), Options(**option))


# --- real folders ----------------------------------------------------------------------------------

MODELS = {
    "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres": 2,
    "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__2d": 1,
    "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_lowres": 1,
    "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_cascade_fullres": 1,
    "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlansOld__3d_fullres": 1,
    "Dataset004_Hippocampus/nnUNetTrainerNoMirroring__nnUNetPlansTorchres__3d_fullres": 1,
    "Dataset105_HippocampusRegions/nnUNetTrainerHippocampusRegions__nnUNetPlans__3d_fullres": 1,
}


@pytest.fixture(scope="session")
def real(shared):
    folder = shared / "nnunet"
    if not folder.is_dir():
        pytest.skip("the shared data folder has no models of nnU-Net")
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_real_checkpoints_load_strictly(real, name):
    model = read_model(real / "models" / name)
    network = build_network(model)
    assert len(model.folder.folds) == MODELS[name]
    size = model.configuration.patch_size
    with torch.inference_mode():
        logits = network.eval()(torch.zeros((1, model.inputs, *size)))
    assert logits.shape == (1, model.labels.channels, *size)


@pytest.mark.parametrize("name", MODELS)
def test_real_networks_answer_as_the_original(real, name):
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet", reason=NO_REFERENCE)
    model = read_model(real / "models" / name)
    model = replace(model, checkpoints=model.checkpoints[:1])
    document = torch.load(model.checkpoints[0].path, weights_only=False)
    about = document["init_args"]["plans"]["configurations"]
    configuration = about[model.configuration.name]
    settings = dict(
        (configuration if "architecture" in configuration else about["3d_fullres"])["architecture"]["arch_kwargs"]
    )
    for key in ("conv_op", "norm_op", "nonlin"):
        settings[key] = getattr(torch.nn, settings[key].rpartition(".")[2])
    original = unet.PlainConvUNet(model.inputs, num_classes=model.labels.channels, **settings)
    original.load_state_dict(document["network_weights"])
    inputs = torch.randn(
        (2, model.inputs, *model.configuration.patch_size), generator=torch.Generator().manual_seed(4)
    )
    with torch.inference_mode():
        expected = original.eval()(inputs.clone())
        found = build_network(model).eval()(inputs)
    assert float((found - expected).abs().max()) < 1e-4  # with biases that the normalisation cancels left out


@pytest.mark.parametrize(
    ("case", "name", "folds"),
    [
        (
            "regions_094",
            "Dataset105_HippocampusRegions/nnUNetTrainerHippocampusRegions__nnUNetPlans__3d_fullres",
            None,
        ),
        ("fullres_folds01_094r", "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres", ("0", "1")),
    ],
)
def test_nnunets_own_logits(real, case, name, folds):
    """Windows blended as nnU-Net does, over its own network input."""
    model = read_model(real / "models" / name, folds)
    stored = np.load(real / "logits" / f"{case}.npz")
    volume, expected = stored["input"], stored["logits"]
    network = build_network(model).eval()
    starts = [
        [round(i * (n - p) / max(1, count - 1)) for i in range(count)]
        for n, p in zip(volume.shape[1:], model.configuration.patch_size)
        for count in [int(np.ceil((n - p) / (p * 0.5))) + 1 if n > p else 1]
    ]
    total, weight = np.zeros(expected.shape), np.zeros(expected.shape[1:])
    patch = model.configuration.patch_size
    gaussian = [np.exp(-((np.arange(p) - p // 2) ** 2) / (2 * (p / 8) ** 2)) for p in patch]
    window_weight = gaussian[0][:, None, None] * gaussian[1][None, :, None] * gaussian[2][None, None, :]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                at = tuple(slice(s, s + p) for s, p in zip((z, y, x), patch))
                with torch.inference_mode():
                    logits = network(torch.from_numpy(volume[(None, slice(None), *at)].copy()))[0].numpy()
                total[(slice(None), *at)] += logits * window_weight
                weight[at] += window_weight
    assert np.abs(total / weight - expected).max() < 1e-3
