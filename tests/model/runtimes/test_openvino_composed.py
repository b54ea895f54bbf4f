"""Transposed convolutions that are one with the convolution after them, in OpenVINO, against torch in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from itk_infer.model.runtimes import openvino as runtime
from itk_infer.model.runtimes.openvino_composed import compose
from itk_infer.model.runtimes.openvino_wide import fill_vectors
from itk_infer.model.runtimes.precision_check import relative_error

pytest.importorskip("openvino", reason="needs the openvino extra")
torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
BOUND = 3e-6
AVX512 = runtime.VECTORS_OF_16 in runtime.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
COMPOSED, APART = ["Convolution"], ["Convolution", "ConvolutionBackpropData"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def enlarge(inputs, outputs, kernel=2, stride=2, **keywords):
    return nn.ConvTranspose3d(inputs, outputs, kernel, stride, bias=False, **keywords)


def conv(inputs, outputs, kernel=3, **keywords):
    return nn.Conv3d(inputs, outputs, kernel, **{"padding": 1, "bias": False, **keywords})


def kinds(model):
    return sorted(name for node in model.get_ordered_ops() if "Convolution" in (name := node.get_type_name()))


def check(network, shape, expected):
    """Compare with float64; `expected`: convolutions of either kind afterwards."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(torch.from_numpy(values).double()).numpy()
    for rewrites in ([compose], [compose, fill_vectors]):
        model = runtime.torch_reader(network.eval())(shape)
        for rewrite in rewrites:
            rewrite(model)
        if rewrites == [compose]:
            assert kinds(model) == expected
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        answer = runtime.import_openvino().Core().compile_model(model, "CPU", settings)({0: values})[0]
        assert answer.shape == exact.shape
        assert relative_error(answer, exact) < BOUND


PAIRS = {
    "of two voxels and three": ((enlarge(16, 8), conv(8, 8)), COMPOSED),
    "of sixteen channels": ((enlarge(16, 16), conv(16, 16)), COMPOSED),
    "that enlarge two axes": ((enlarge(16, 8, (2, 2, 1), (2, 2, 1)), conv(8, 8)), COMPOSED),
    "that enlarge by three": ((enlarge(8, 8, 3, 3), conv(8, 4)), COMPOSED),
    "that overlap": ((enlarge(8, 8, 4, 2), conv(8, 8)), COMPOSED),
    "that leave gaps": ((enlarge(8, 8, 2, 3), conv(8, 8)), COMPOSED),
    "of several sides": ((enlarge(8, 8), conv(8, 8, (1, 3, 5), padding=(0, 1, 2))), COMPOSED),
    "without padding": ((enlarge(8, 8), conv(8, 8, padding=0)), COMPOSED),
    "of other padding": ((enlarge(8, 8), conv(8, 8, padding=(2, 0, 1))), COMPOSED),
    "with a bias at the end": ((enlarge(8, 8), conv(8, 8, bias=True)), COMPOSED),
    "with a bias between, as they are": ((nn.ConvTranspose3d(8, 8, 2, 2), conv(8, 8)), APART),
    "that multiply less apart, as they are": ((enlarge(32, 8), conv(8, 8)), APART),
    "of one tap": ((enlarge(8, 8), conv(8, 8, 1, padding=0)), COMPOSED),
    "cropped between, as they are": ((enlarge(8, 8, 3, 2, padding=1, output_padding=1), conv(8, 8)), APART),
    "cropped at one end, as they are": ((enlarge(8, 8, 3, 2, output_padding=1), conv(8, 8)), APART),
    "of a stride, as they are": ((enlarge(8, 8), conv(8, 8, stride=2)), APART),
    "with dilation, as they are": ((enlarge(8, 8), conv(8, 8, dilation=2, padding=2)), APART),
    "of much padding, as they are": ((enlarge(8, 8), conv(8, 8, padding=3)), APART),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    layers, expected = PAIRS[name]
    check(nn.Sequential(*layers), (2, layers[0].in_channels, 3, 4, 5), expected)


class Decoder(nn.Module):
    """An enlarged image and another one, each with a convolution, whose sum is wanted."""

    def __init__(self, also=False):
        super().__init__()
        self.down, self.up, self.own, self.skip = conv(8, 16, stride=2), enlarge(16, 8), conv(8, 8), conv(8, 8)
        self.norm = nn.InstanceNorm3d(8)
        self.also = also

    def forward(self, image):
        enlarged = self.up(torch.relu(self.down(image)))
        total = self.norm(self.own(enlarged) + self.skip(image))
        return total + enlarged if self.also else total


def test_a_decoder():
    check(Decoder(), (1, 8, 8, 6, 16), ["Convolution"] * 3)


def test_an_enlarged_image_that_is_also_used_elsewhere_stays():
    check(Decoder(also=True), (1, 8, 8, 6, 16), ["Convolution"] * 3 + ["ConvolutionBackpropData"])


@pytest.mark.skipif(not AVX512, reason="this CPU has no vectors of 16 numbers")
@pytest.mark.parametrize("precision", ["fp32", *runtime.reduced_precisions()])
def test_networks_of_fp32_are_rewritten(precision, monkeypatch):
    composed = []
    monkeypatch.setattr(runtime, "compose", composed.append)
    network = runtime.OpenVinoNetwork(runtime.torch_reader(enlarge(8, 8).eval()), precision, 1)
    network(np.zeros((1, 8, 4, 4, 8), np.float32))
    assert bool(composed) == (precision == "fp32")
