"""Normalisation in OpenVINO against torch in float64, on windows that are mostly air."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from itk_infer.model.runtimes import openvino as runtime
from itk_infer.model.runtimes.openvino_norms import FEW
from itk_infer.model.runtimes.precision_check import relative_error

pytest.importorskip("openvino", reason="needs the openvino extra")
torch = pytest.importorskip("torch", reason="torch is not installed")
BOUND = 2e-5  # OpenVINO alone has 1e-3 for instances and 1e-4 for groups


class ThenNorm(torch.nn.Module):
    """A convolution, after which OpenVINO's sums are least exact, and a normalisation."""

    def __init__(self, norm, dimensions=3):
        super().__init__()
        kind = torch.nn.Conv3d if dimensions == 3 else torch.nn.Conv2d
        self.convolution, self.norm = kind(2, 16, 3, padding=1), norm
        for name, weight in norm.named_parameters():
            torch.nn.init.uniform_(weight, 0.5 if name == "weight" else -1.0, 1.0)

    def forward(self, inputs):
        return torch.nn.functional.leaky_relu(self.norm(self.convolution(inputs)), 0.01)


def mostly_air(*shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values[:, :, : int(shape[2] * 0.95)] = 0.3
    return values


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def in_float64(network, values):
    with torch.inference_mode():
        return copy.deepcopy(network).double()(torch.from_numpy(values).double()).numpy()


def compiled(network, precision="fp32"):
    return runtime.OpenVinoNetwork(runtime.torch_reader(network), precision, 1)


@pytest.mark.parametrize("name", ["instance", "instance without scale", "group of two", "one group"])
def test_volumes_of_air(name):
    norm = {
        "instance": lambda: torch.nn.InstanceNorm3d(16, affine=True),
        "instance without scale": lambda: torch.nn.InstanceNorm3d(16),
        "group of two": lambda: torch.nn.GroupNorm(8, 16),
        "one group": lambda: torch.nn.GroupNorm(1, 16),
    }[name]()
    network, values = ThenNorm(norm).eval(), mostly_air(2, 2, 48, 40, 33)
    assert relative_error(compiled(network)(values), in_float64(network, values)) < BOUND


def pooled(network, shape):
    model = runtime.torch_reader(network)(shape)
    runtime.normalise_exactly(model)
    return sum(node.get_type_name() == "AvgPool" for node in model.get_ordered_ops())


@pytest.mark.parametrize("groups", [16, 8, 1])
def test_few_voxels_are_left_to_openvino(groups):
    norm = torch.nn.InstanceNorm3d(16) if groups == 16 else torch.nn.GroupNorm(groups, 16)
    network, shape = ThenNorm(norm).eval(), (1, 2, 15, 10, 10)
    assert math.prod(shape[2:]) == FEW
    assert pooled(network, shape) == 0
    assert pooled(network, (1, 2, 16, 10, 10)) == 6
    values = mostly_air(*shape)
    assert relative_error(compiled(network)(values), in_float64(network, values)) < BOUND


def test_pictures_and_axes_of_one_voxel():
    network, values = ThenNorm(torch.nn.InstanceNorm2d(16, affine=True), 2).eval(), mostly_air(1, 2, 200, 180)
    assert relative_error(compiled(network)(values), in_float64(network, values)) < BOUND
    network, values = ThenNorm(torch.nn.InstanceNorm3d(16)).eval(), mostly_air(1, 2, 100, 1, 90)
    assert relative_error(compiled(network)(values), in_float64(network, values)) < BOUND


def test_onnx_files(tmp_path):
    from onnx import TensorProto, helper, numpy_helper, save

    network = ThenNorm(torch.nn.InstanceNorm3d(16, affine=True, eps=1e-3)).eval()
    state = {name.replace(".", "_"): value.numpy() for name, value in network.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["x", "convolution_weight", "convolution_bias"], ["c"], pads=[1] * 6),
        helper.make_node("InstanceNormalization", ["c", "norm_weight", "norm_bias"], ["n"], epsilon=1e-3),
        helper.make_node("LeakyRelu", ["n"], ["y"], alpha=0.01),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, 48, 40, 33])
        for name, channels in (("x", 2), ("y", 16))
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in state.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "m.onnx")
    values = mostly_air(1, 2, 48, 40, 33)
    found = runtime.OpenVinoNetwork(runtime.onnx_reader(tmp_path / "m.onnx"), "fp32", 1)(values)
    assert relative_error(found, in_float64(network, values)) < BOUND


def test_normalisation_over_other_axes_stays_as_it_is():
    """Of layers, as in transformers: sums over few values, which OpenVINO adds exactly enough."""

    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.LayerNorm(16)

        def forward(self, inputs):
            return self.norm(inputs.movedim(1, -1)).movedim(-1, 1)

    network = Layers().eval()
    values = np.random.default_rng(1).normal(size=(1, 16, 4, 5, 6)).astype(np.float32)
    assert relative_error(compiled(network)(values), in_float64(network, values)) < BOUND
    model = runtime.torch_reader(network)(values.shape)
    before = [node.get_type_name() for node in model.get_ordered_ops()]
    runtime.normalise_exactly(model)
    assert [node.get_type_name() for node in model.get_ordered_ops()].count("AvgPool") == 0
    assert "MVN" in before


@pytest.mark.skipif("bf16" not in runtime.reduced_precisions(), reason="this CPU has no bf16 instructions")
def test_bf16_keeps_what_openvino_has():
    """Means of their own would be rounded to three digits."""
    network, values = ThenNorm(torch.nn.InstanceNorm3d(16)).eval(), mostly_air(1, 2, 24, 20, 16)
    assert relative_error(compiled(network, "bf16")(values), in_float64(network, values)) < 0.05
