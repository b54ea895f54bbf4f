"""The configs that ship with the project, built and run as they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.loading import mmengine_backend

from itk_infer.model.kinds.mmengine_network import build_network, quiet_imports, read_config
from itk_infer.spec import parse_spec
from itk_infer.spec.intensity import Standardize, WindowLevel

torch = pytest.importorskip("torch")
pytest.importorskip("mmengine")

RNG = np.random.default_rng(40)


@pytest.fixture
def with_random_weights(configs, tmp_path):
    """A network of a config, and the backend that got its weights through a file."""

    def make(name: str):
        path = configs / f"{name}.py"
        with quiet_imports():
            network = build_network(read_config(path), path)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        return network.eval(), mmengine_backend(path, tmp_path / "weights.pth", device="cpu", provider="cpu")

    return make


def test_the_demo_config_says_what_the_demo_spec_says(configs, shared):
    demo = shared / "demo"
    backend = mmengine_backend(
        configs / "hippocampus_unet.py", demo / "hippocampus_unet_state_dict.pth", device="cpu"
    )
    document = json.loads((demo / "hippocampus_unet.spec.json").read_text())
    for label, part in zip(document["output"]["labels"], ("Anterior", "Posterior")):
        label["code"] = {"type": "Hippocampus", "modifier": part}
    assert backend.spec == parse_spec(document, "demo")
    assert backend.notes == (
        "hippocampus_unet_state_dict.pth holds the weights of the model's network alone: loaded there",
    )


def test_the_demo_network_answers_as_its_onnx_file_does(configs, shared):
    runtime = pytest.importorskip("onnxruntime")
    demo = shared / "demo"
    backend = mmengine_backend(
        configs / "hippocampus_unet.py", demo / "hippocampus_unet_state_dict.pth", device="cpu"
    )
    windows = RNG.normal(size=(2, 1, 40, 56, 40)).astype(np.float32)
    session = runtime.InferenceSession(demo / "hippocampus_unet.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: windows})
    assert np.abs(expected).max() > 1
    assert np.abs(backend.forward(windows) - expected).max() < 1e-3


def test_a_lazy_config_with_a_network_of_monai_and_a_shared_spec(with_random_weights):
    pytest.importorskip("monai")
    network, backend = with_random_weights("dynunet")
    windows = RNG.normal(size=(2, 1, 16, 20, 24)).astype(np.float32)
    with torch.no_grad():
        expected = network.network(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(backend.forward(windows), expected, atol=1e-5)
    assert expected.shape == (2, 3, 16, 20, 24)
    assert backend.spec.name == "hippocampus_dynunet"
    assert backend.spec.input.orientation == "RAS"
    assert [label.value for label in backend.spec.output.labels] == [1, 2]
    assert backend.shape.size == (None, None, None)


def test_a_2d_segmentor_of_mmsegmentation_runs_plane_by_plane(with_random_weights, capfd):
    pytest.importorskip("mmseg")
    network, backend = with_random_weights("mmseg_fcn_2d")
    windows = RNG.normal(size=(3, 1, 1, 48, 64)).astype(np.float32)
    answer = backend.forward(windows)
    with torch.no_grad():
        coarse = network(torch.from_numpy(windows[:, :, 0]), mode="tensor")
        expected = torch.nn.functional.interpolate(coarse, (48, 64), mode="bilinear").numpy()
    assert coarse.shape == (3, 4, 24, 32)  # the head answers at half the size
    np.testing.assert_allclose(answer, expected[:, :, None], rtol=1e-5, atol=1e-5)
    assert backend.shape.size == (1, None, None)
    assert backend.shape.channels_in == 1
    assert capfd.readouterr() == ("", "")


def test_the_keys_that_such_a_config_has_had_all_along(with_random_weights):
    pytest.importorskip("mmseg")
    _, backend = with_random_weights("mmseg_fcn_2d")
    assert backend.spec.input.intensity == (WindowLevel(50, 400), Standardize((0.5,), (0.25,)))
    assert backend.spec.window.patch_size == (1, 64, 64)
    assert backend.spec.window.patch_stride == (1, 32, 32)


def test_a_config_that_builds_on_one_of_mmsegmentations_own(tmp_path):
    pytest.importorskip("mmseg")
    config, checkpoint = tmp_path / "drive.py", tmp_path / "drive.pth"
    # Found through pkg_resources; names SyncBN, three means, and slides by crop_size and stride.
    config.write_text("_base_ = 'mmseg::unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py'\n")
    with quiet_imports():
        network = build_network(read_config(config), config)
    torch.save(network.state_dict(), checkpoint)
    backend = mmengine_backend(config, checkpoint, device="cpu", provider="cpu")
    assert backend.notes == ("drive.py: ignored data_preprocessor.bgr_to_rgb",)
    assert backend.shape.channels_in == len(backend.spec.input.channels) == 3
    assert backend.spec.window.patch_stride == (1, 42, 42)
    assert backend.forward(np.zeros((1, 3, 1, 64, 64), np.float32)).shape == (1, 2, 1, 64, 64)


def test_a_checkpoint_of_the_runner_still_finds_both_labels(configs, shared, trained_checkpoint):
    sitk = pytest.importorskip("SimpleITK")
    backend = mmengine_backend(configs / "hippocampus_unet.py", trained_checkpoint, device="cpu", provider="cpu")
    dice = []
    for image_path in sorted((shared / "hippocampus" / "images").glob("*.nii.gz")):
        image, truth = (
            sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(path), "RAS"))
            for path in (image_path, shared / "hippocampus" / "labels" / image_path.name)
        )
        image = (image.astype(np.float32) - image.mean()) / image.std()
        sizes = [max(least, -(-size // 4) * 4) for least, size in zip((40, 56, 40), image.shape, strict=True)]
        pad = [((size - have) // 2, (size - have + 1) // 2) for size, have in zip(sizes, image.shape, strict=True)]
        logits = backend.forward(np.pad(image, pad)[None, None].astype(np.float32))[0]
        inside = tuple(slice(before, before + have) for (before, _), have in zip(pad, truth.shape, strict=True))
        found = logits.argmax(axis=0)[inside]
        dice.append(
            [2 * np.sum((found == k) & (truth == k)) / (np.sum(found == k) + np.sum(truth == k)) for k in (1, 2)]
        )
    anterior, posterior = np.mean(dice, axis=0)
    assert len(dice) == 8
    assert anterior >= 0.85
    assert posterior >= 0.85
