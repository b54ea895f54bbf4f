"""A real network on a GPU: the same labels as on the CPU, whatever memory and precision do.

torch's CPU stands for the GPU where there is none, in every test that it can rehearse.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.model.kinds.mmengine_network import quiet_imports
from itk_infer.predictor import Predictor

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("mmengine", reason="MMEngine is not installed")

GPU = pytest.param("cuda:0", marks=pytest.mark.gpu)
DEVICES = pytest.mark.parametrize("device", ["cpu", GPU])
CONFIG = """
custom_imports = dict(imports=["itk_infer.networks"])
model = dict(type="Segmentor3D", network=dict(type="UNet3D", in_channels=1, n_classes={classes}, base={base}))
itk_infer = dict(
    spec=1,
    input=dict(orientation="RAS", intensity=[dict(op="divide_by_max")]),
    window=dict(patch_size={patch}, patch_stride={stride}, multiple_of=[4, 4, 4]),
)
"""


class Model:
    """Config and checkpoint of a U-Net with random weights."""

    def __init__(self, folder, classes=4, base=8, patch=32, scale=1.0):
        with quiet_imports():
            from itk_infer.networks import Segmentor3D, UNet3D

        torch.manual_seed(0)
        network = UNet3D(1, classes, base)
        with torch.no_grad():
            for parameter in network.head.parameters():
                parameter.mul_(scale)
        self.config, self.checkpoint = folder / "net.py", folder / "net.pth"
        text = CONFIG.format(classes=classes, base=base, patch=[patch] * 3, stride=[patch // 2] * 3)
        self.config.write_text(text)
        torch.save(Segmentor3D(network).state_dict(), self.checkpoint)

    def load(self, device, **options):
        """A predictor; on ``cpu`` its windows are tensors, as on a GPU."""
        predictor = Predictor.from_mmengine(
            self.config, self.checkpoint, device=device, provider="cpu" if device == "cpu" else "auto", **options
        )
        if device == "cpu":
            predictor.backend.tensor_device = "cpu"
            predictor = Predictor(predictor.backend, **{k: v for k, v in options.items() if k != "precision"})
        return predictor

    def on_the_host(self, image):
        """Labels of the host's engine, in fp32."""
        found = Predictor.from_mmengine(self.config, self.checkpoint, device="cpu", provider="cpu")(image)
        return sitk.GetArrayFromImage(found.labels)


@pytest.fixture
def model(tmp_path):
    def make(**network):
        return Model(tmp_path, **network)

    return make


def scan(size=(60, 72, 80), seed=0, scale=100):
    """Smooth blobs and noise, int16, axes turned; 48 windows."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=[-(-n // 12) for n in size])
    array = np.kron(coarse, np.ones((12, 12, 12)))[tuple(slice(n) for n in size)] + 0.3 * rng.normal(size=size)
    image = sitk.GetImageFromArray((scale * array).astype(np.int16))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    image.SetSpacing((0.8, 0.9, 1.5))
    return image


def scan_for(device, seed=0):
    """The same for a GPU; 12 windows where the CPU stands for one."""
    return scan((36, 44, 52), seed) if device == "cpu" else scan(seed=seed)


def labels(result):
    return sitk.GetArrayFromImage(result.labels)


@DEVICES
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_labels_are_those_of_the_host(device, precision, model):
    if device == "cpu" and precision != "fp32":
        pytest.skip("reduced precision of torch is for CUDA")
    network, image = model(), scan_for(device)
    result = network.load(device, precision=precision, batch=2)(image)
    expected = network.on_the_host(image)
    assert len(np.unique(expected)) == 4
    assert np.mean(labels(result) == expected) > (0.9999 if precision == "fp32" else 0.99)
    assert result.labels.GetDirection() == pytest.approx(sitk.DICOMOrient(image, "LPI").GetDirection())


@DEVICES
@pytest.mark.parametrize("batch", [1, 5, "auto"])  # of 5, the last batch is not full
def test_any_number_of_windows_gives_the_same(device, batch, model, tmp_path):
    network, image = model(), scan_for(device)
    result = network.load(device, batch=batch, batch_cache=tmp_path, tta=False)(image)
    assert np.mean(labels(result) == network.on_the_host(image)) > 0.9999


@pytest.mark.gpu
def test_windows_that_overflow_in_half_precision_are_run_again(model):
    """Logits far above 65,504: the first case is small enough for the check of the precision, the second is not."""
    network = model(scale=20_000.0)
    predictor = network.load("cuda:0", precision="fp16")
    predictor.model.precision_checked = True  # the check would settle for fp32 before the guard has anything to do
    image = scan()
    result = predictor(image)
    assert predictor.backend.precision == "fp16"
    assert any("fp32" in warning for warning in result.measurements.warnings)
    assert np.mean(labels(result) == network.on_the_host(image)) > 0.99


@pytest.mark.gpu
def test_a_network_that_overflows_is_noticed_before_the_first_case(model):
    network = model(scale=20_000.0)
    predictor = network.load("cuda:0", precision="fp16")
    image = scan()
    result = predictor(image)
    assert predictor.backend.precision == "fp32"
    assert any("fp16 differs too much" in warning for warning in result.measurements.warnings)
    assert np.mean(labels(result) == network.on_the_host(image)) > 0.9999


@pytest.mark.gpu
def test_memory_that_runs_out_halves_the_windows_per_call(model):
    network, image = model(base=32, patch=64), scan((128, 130, 140))
    torch.cuda.empty_cache()
    predictor = network.load("cuda:0", batch=64, max_vram=3 * 2**30)
    try:
        result = predictor(image)
        assert np.mean(labels(result) == network.on_the_host(image)) > 0.9999
        assert 1 <= predictor.batch_size < 64
        assert any("window(s) per call" in warning for warning in result.measurements.warnings)
        assert torch.cuda.max_memory_reserved() <= 3 * 2**30
        again = predictor(image)
        assert np.array_equal(labels(again), labels(result))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.gpu
def test_a_ring_that_does_not_fit_is_in_host_memory(model):
    network, image = model(classes=24, patch=32), scan((64, 300, 300))
    torch.cuda.empty_cache()
    predictor = network.load("cuda:0", max_vram=600 * 2**20)
    try:
        result = predictor(image)
        assert any("summed in host memory" in warning for warning in result.measurements.warnings)
        assert np.mean(labels(result) == network.on_the_host(image)) > 0.9999
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@DEVICES
def test_copies_to_the_host_are_not_overwritten_by_what_follows(device):
    """Slabs are copied while the device goes on; what it reuses meanwhile must not show."""
    from itk_infer.engine.device.to_host import DeviceSlab, to_host_slabs

    rng = np.random.default_rng(0)
    stored = [rng.integers(0, 255, (8, 512, 512), dtype=np.uint8) for _ in range(12)]

    def slabs():
        for index, values in enumerate(stored):
            there = torch.from_numpy(values).to(device)
            yield DeviceSlab(8 * index, there + 0, None, None)
            del there
            for _ in range(4):  # takes the memory that was just given back
                torch.full((8, 512, 512), 255, dtype=torch.uint8, device=device)

    found = list(to_host_slabs(slabs()))
    for slab, values in zip(found, stored, strict=True):
        np.testing.assert_array_equal(slab.labels, values)


@DEVICES
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_whose_cases_overlap(device, workers, model, tmp_path):
    network, scans = model(), tmp_path / "scans"
    scans.mkdir()
    for index in range(5):
        sitk.WriteImage(scan_for(device, index), scans / f"case{index}.nii.gz")
    command = [sys.executable, "-m", "itk_infer", "-i", scans, "-o", tmp_path / "masks", "-cfg", network.config]
    command += ["-ckpt", network.checkpoint, "--num-proc", workers, "--gpus", "1", "--orientation", "input"]
    if device == "cpu":
        command[-4:-2] = ["--device", "cpu"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    predictor = Predictor.from_mmengine(
        network.config, network.checkpoint, device="cpu", provider="cpu", orientation="input"
    )
    for index in range(5):
        got = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "masks" / f"case{index}.nii.gz"))
        assert np.mean(got == labels(predictor(scan_for(device, index)))) > 0.999
