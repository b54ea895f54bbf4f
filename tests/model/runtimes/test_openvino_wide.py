"""Networks whose convolutions make several voxels at once, in OpenVINO, against torch in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from itk_infer.model.runtimes import openvino as runtime
from itk_infer.model.runtimes import openvino_norms
from itk_infer.model.runtimes.openvino_norms import normalise_exactly
from itk_infer.model.runtimes.openvino_wide import blocks_of, fill_vectors
from itk_infer.model.runtimes.precision_check import relative_error

pytest.importorskip("openvino", reason="needs the openvino extra")
torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
BOUND = 3e-6
AVX512 = runtime.VECTORS_OF_16 in runtime.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Together(nn.Module):
    """Applies a function of modules."""

    def __init__(self, forward, *modules):
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self._forward = forward

    def forward(self, image):
        return self._forward(image, *self.parts)


def conv(inputs, outputs, kernel=3, **keywords):
    return nn.Conv3d(inputs, outputs, kernel, **{"padding": 1, **keywords})


def twice(inputs, outputs, kernel=3, stride=2, padding=1, more=1):
    return nn.ConvTranspose3d(inputs, outputs, kernel, stride, padding, more)


def compiled(model):
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return runtime.import_openvino().Core().compile_model(model, "CPU", settings)


def check(network, shape, widths):
    """Compare with float64, before and after; `widths`: output channels of all convolutions afterwards."""
    network = randomised(network).eval()
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(torch.from_numpy(values).double()).numpy()
    models = [runtime.torch_reader(network)(shape) for _ in range(2)]
    for model in models:
        normalise_exactly(model)
    fill_vectors(models[1])
    found = [
        int(node.get_output_shape(0)[1]) for node in models[1].get_ordered_ops() if node.get_type_name() in KINDS
    ]
    assert sorted(found) == sorted(widths)
    before, after = (compiled(model)({0: values})[0] for model in models)
    assert after.shape == exact.shape
    assert relative_error(after, exact) < BOUND
    assert relative_error(after, before) < BOUND
    return compiled(models[1])


KINDS = ("Convolution", "ConvolutionBackpropData")


def randomised(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, nn.PReLU | nn.BatchNorm3d | nn.InstanceNorm3d | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.2, 1)
    return network


CONVOLUTIONS = {
    "of eight channels, two voxels": (conv(8, 8), (2, 8, 5, 6, 8), [16]),
    "of two channels, eight voxels": (conv(8, 2), (1, 8, 4, 5, 16), [16]),
    "of three channels, five voxels": (conv(8, 3), (1, 8, 4, 5, 15), [15]),
    "of a stride": (conv(8, 4, stride=(1, 2, 2)), (1, 8, 4, 7, 16), [16]),
    "of a stride that leaves a voxel over": (conv(8, 4, stride=2, padding=0), (1, 8, 7, 7, 10), [16]),
    "of a longer kernel": (conv(8, 8, (1, 3, 5), padding=(0, 1, 2)), (1, 8, 4, 5, 8), [16]),
    "without padding": (conv(8, 4, padding=0), (1, 8, 4, 5, 10), [16]),
    "of sixteen channels, as they are": (conv(8, 16), (1, 8, 4, 5, 8), [16]),
    "of an odd width, as they are": (conv(8, 8), (1, 8, 4, 5, 7), [8]),
    "with dilation, as they are": (conv(8, 8, dilation=2, padding=2), (1, 8, 6, 6, 8), [8]),
    "of one channel to eight, as they are": (conv(1, 8), (1, 1, 6, 6, 8), [8]),
    "transposed, voxels of all axes": (twice(4, 2), (1, 4, 3, 4, 5), [16]),
    "transposed, kernel of four": (twice(4, 2, 4, 2, 1, 0), (1, 4, 3, 4, 5), [16]),
    "transposed, kernel of two": (twice(4, 2, 2, 2, 0, 0), (1, 4, 3, 4, 5), [16]),
    "transposed, voxels of the last axis": (twice(4, 8), (1, 4, 3, 4, 5), [16]),
    "transposed, last axis, kernel of two": (twice(4, 8, 2, 2, 0, 0), (1, 4, 3, 4, 5), [16]),
    "transposed, last axis, kernel of four": (twice(4, 8, 4, 2, 1, 0), (1, 4, 3, 4, 5), [16]),
    "transposed, another stride, as they are": (twice(4, 2, 3, 3, 0, 0), (1, 4, 3, 4, 5), [2]),
    "transposed, one voxel more, as they are": (twice(4, 8, 3, 2, 0, 0), (1, 4, 3, 4, 5), [8]),
    "of pictures": (nn.Conv2d(8, 8, 3, padding=1), (2, 8, 9, 8), [16]),
    "of pictures, transposed": (nn.ConvTranspose2d(8, 4, 2, 2), (2, 8, 9, 8), [16]),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    network, shape, widths = CONVOLUTIONS[name]
    check(network, shape, widths)


def normed(norm):
    return nn.Sequential(conv(8, 8), norm, nn.LeakyReLU(0.1), conv(8, 8))


def residual(image, first, norm, slopes, second):
    return second(image) + slopes(norm(first(image)))


def skip(image, first, down, up, last):
    there = torch.relu(first(image))
    return last(torch.cat([there, torch.tanh(up(down(there)))], 1))


NETWORKS = {
    "batch norm, slopes of channels, residual": (
        Together(residual, conv(8, 8), nn.BatchNorm3d(8), nn.PReLU(8), conv(8, 8)),
        [16, 16],
    ),
    # The last of the three makes means of all voxels of means per voxel in one.
    "instance norm": (normed(nn.InstanceNorm3d(8, affine=True)), [16, 8, 8, 16]),
    "group norm": (normed(nn.GroupNorm(4, 8)), [16, 8, 8, 16]),
    "stride after a residual": (
        Together(lambda image, a, b: b(image + a(image)), conv(8, 8), conv(8, 32, stride=2)),
        [16, 32],
    ),
    "side by side": (
        Together(skip, conv(8, 8), conv(8, 16, stride=2), twice(16, 8), conv(16, 8)),
        [16, 16, 16, 16, 16],
    ),
    "voxels of all axes, then of the last": (
        nn.Sequential(twice(8, 2), nn.BatchNorm3d(2), nn.PReLU(), conv(2, 2)),
        [16, 16],
    ),
    "maxima": (nn.Sequential(conv(8, 8), nn.ReLU(), nn.MaxPool3d(2), conv(8, 32)), [16, 32]),
    "maxima that overlap": (nn.Sequential(conv(8, 8), nn.MaxPool3d(3, 2, 1), conv(8, 32)), [16, 32]),
    "interpolation, as it is": (nn.Sequential(conv(8, 8), nn.Upsample(scale_factor=2, mode="trilinear")), [16]),
    "means of pairs, as they are": (nn.Sequential(conv(8, 8), nn.AvgPool3d(2), conv(8, 32)), [16, 32]),
    "softmax, as it is": (nn.Sequential(conv(8, 4), nn.Softmax(1)), [16]),
    "weights of a row, not of channels": (
        Together(lambda image, a: a(image) * torch.arange(8.0), conv(8, 8)),
        [16],
    ),
    "an image of one channel, as of several": (
        Together(
            lambda image, a: a(image) + image[:, :1] * torch.arange(1.0, 9.0).reshape(8, 1, 1, 1), conv(8, 8)
        ),
        [16],
    ),
    "masks of voxels": (
        Together(lambda image, a, b: a(image) * torch.sigmoid(b(image)), conv(8, 8), conv(8, 1)),
        [16, 8],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_follows(name, monkeypatch):
    monkeypatch.setattr(openvino_norms, "FEW", 0)  # norms of small images, too
    network, widths = NETWORKS[name]
    check(network, (1, 8, 6, 4, 8), widths)


def test_means_stay_exact():
    """In a window that is mostly air, as in the tests of norms."""
    network = randomised(nn.Sequential(conv(8, 8), nn.InstanceNorm3d(8, affine=True))).eval()
    values = np.random.default_rng(0).normal(size=(1, 8, 48, 40, 32)).astype(np.float32)
    values[:, :, :45] = 0.3
    model = runtime.torch_reader(network)(values.shape)
    normalise_exactly(model)
    fill_vectors(model)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(torch.from_numpy(values).double()).numpy()
    assert relative_error(compiled(model)({0: values})[0], exact) < 2e-5


@pytest.mark.skipif(not AVX512, reason="this CPU has no vectors of 16 numbers")
def test_nothing_is_copied():
    """Convolutions in a row, with a norm, a residual and a skip: no transposition is left but that of the output."""

    def forward(image, first, norm, second, down, up, last):
        there = torch.relu(norm(first(image)))
        there = there + second(there)
        return last(torch.cat([there, torch.relu(up(down(there)))], 1))

    parts = (
        conv(8, 8),
        nn.InstanceNorm3d(8, affine=True),
        conv(8, 8),
        conv(8, 32, stride=2),
        twice(32, 8),
        conv(16, 8),
    )
    network = check(Together(forward, *parts), (1, 8, 8, 8, 32), [16, 8, 8, 16, 32, 16, 16, 16])
    kinds = [node.get_rt_info()["layerType"].astype(str) for node in network.get_runtime_model().get_ordered_ops()]
    assert kinds.count("Transpose") == 1


@pytest.mark.skipif(not AVX512, reason="this CPU has no vectors of 16 numbers")
@pytest.mark.parametrize("precision", ["fp32", *runtime.reduced_precisions()])
def test_networks_of_fp32_are_rewritten(precision, monkeypatch):
    filled = []
    monkeypatch.setattr(runtime, "fill_vectors", filled.append)
    network = runtime.OpenVinoNetwork(runtime.torch_reader(conv(8, 8).eval()), precision, 1)
    network(np.zeros((1, 8, 4, 4, 8), np.float32))
    assert bool(filled) == (precision == "fp32")


def test_a_model_without_such_convolutions_stays_as_it_is():
    model = runtime.torch_reader(nn.Sequential(conv(1, 16), nn.ReLU(), conv(16, 16)).eval())((1, 1, 4, 4, 8))
    before = [node.get_name() for node in model.get_ordered_ops()]
    fill_vectors(model)
    assert [node.get_name() for node in model.get_ordered_ops()] == before
    assert not any(map(blocks_of, model.get_ordered_ops()))
