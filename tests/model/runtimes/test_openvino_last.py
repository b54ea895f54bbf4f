"""Last convolutions that are products of matrices, in OpenVINO, against torch in float64."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from itk_infer.model.runtimes import openvino as runtime
from itk_infer.model.runtimes.openvino_last import MANY, multiply_last
from itk_infer.model.runtimes.precision_check import relative_error

pytest.importorskip("openvino", reason="needs the openvino extra")
torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
BOUND = 3e-6
AVX512 = runtime.VECTORS_OF_16 in runtime.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Twice(nn.Module):
    """An image of which more than one output is made."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv3d(4, 16, 1)

    def forward(self, image):
        logits = self.last(image)
        return logits, torch.sigmoid(logits)


CASES = {
    "of many classes": (nn.Conv3d(64, MANY, 1), (1, 64, 3, 4, 5), True),
    "without bias": (nn.Conv3d(8, 25, 1, bias=False), (1, 8, 3, 4, 5), True),
    "of a picture": (nn.Conv2d(8, 17, 1), (1, 8, 6, 7), True),
    "after others": (
        nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 20, 1)),
        (1, 1, 4, 4, 6),
        True,
    ),
    "of few classes": (nn.Conv3d(8, MANY - 1, 1), (1, 8, 3, 4, 5), False),
    "of more taps": (nn.Conv3d(8, 16, (1, 1, 3), padding=(0, 0, 1)), (1, 8, 3, 4, 5), False),
    "with a stride": (nn.Conv3d(8, 16, 1, stride=2), (1, 8, 4, 4, 6), False),
    "with padding": (nn.Conv3d(8, 16, 1, padding=1), (1, 8, 3, 4, 5), False),
    "of groups": (nn.Conv3d(8, 16, 1, groups=2), (1, 8, 3, 4, 5), False),
    "of several images": (nn.Conv3d(8, 16, 1), (2, 8, 3, 4, 5), False),
    "before an activation": (nn.Sequential(nn.Conv3d(8, 16, 1), nn.Sigmoid()), (1, 8, 3, 4, 5), False),
    "of two outputs": (Twice(), (1, 4, 3, 4, 5), False),
}


@pytest.mark.parametrize("name", CASES)
def test_last_convolutions(name):
    network, shape, expected = CASES[name]
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(torch.from_numpy(values).double())
    model = runtime.torch_reader(network.eval())(shape)
    multiply_last(model)
    assert any(node.get_type_name() == "MatMul" for node in model.get_ordered_ops()) == expected
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    answers = runtime.import_openvino().Core().compile_model(model, "CPU", settings)({0: values})
    for number, right in enumerate(exact if isinstance(exact, tuple) else (exact,)):
        assert answers[number].shape == right.shape
        assert relative_error(answers[number], right.numpy()) < BOUND


@pytest.mark.skipif(not AVX512, reason="this CPU has no vectors of 16 numbers")
@pytest.mark.parametrize("precision", ["fp32", *runtime.reduced_precisions()])
def test_networks_of_fp32_are_rewritten(precision, monkeypatch):
    rewritten = []
    monkeypatch.setattr(runtime, "multiply_last", rewritten.append)
    network = runtime.OpenVinoNetwork(runtime.torch_reader(nn.Conv3d(8, 8, 1).eval()), precision, 1)
    network(np.zeros((1, 8, 4, 4, 8), np.float32))
    assert bool(rewritten) == (precision == "fp32")
