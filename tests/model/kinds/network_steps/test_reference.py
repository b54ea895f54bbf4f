"""Each kind of step, computed by NumPy and by OpenVINO, against torch."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.model.kinds.network_steps.openvino_graph import openvino_graph
from itk_infer.model.kinds.network_steps.reference import reference_logits
from itk_infer.model.kinds.network_steps.step import IMAGE, Activation, Norm, Step, weights_of
from itk_infer.model.kinds.network_steps.writer import StepWriter

torch = pytest.importorskip("torch", reason="torch is not installed")
openvino = pytest.importorskip("openvino", reason="openvino is not installed")

GENERATOR = np.random.default_rng(2)


def weights_for(steps) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(GENERATOR.random(shape, np.float32) + np.float32(0.5 if name.endswith("var") else -0.5))
        for name, shape in weights_of(steps).items()
    }


def compare(steps, module, windows: np.ndarray) -> None:
    """`module` is torch's; it gets the weights of the steps, whose names begin with ``a.``."""
    weights = weights_for(steps)
    module.eval().load_state_dict({name[2:]: torch.from_numpy(value) for name, value in weights.items()})
    with torch.no_grad():
        expected = module(torch.from_numpy(windows)).numpy()
    compiled = openvino.Core().compile_model(
        openvino_graph(steps, [weights], windows.shape), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for found, tolerated in (
        (reference_logits(steps, [weights], windows), 1e-5),
        (compiled({0: windows})[0], 1e-4),
    ):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= tolerated * max(1.0, np.abs(expected).max())


def image(dims: int, channels: int = 4) -> np.ndarray:
    return GENERATOR.standard_normal((2, channels, *[6, 9, 8][:dims]), np.float32)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, 1), (3, 2, 1), (5, 2, 2), (1, 2, 0), (2, 2, 0), (3, 1, 0), (3, 3, 2), (4, 1, 3)],
)
def test_convolutions(dims, kernel, stride, padding):
    write = StepWriter(dims)
    write.conv(IMAGE, "a", (4, 5), (kernel,) * dims, (stride,) * dims, padding=(padding,) * dims, bias="used")
    kind = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dims]
    compare(write.steps, kind(4, 5, kernel, stride, padding), image(dims))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [
        (2, 2, 0, 0),
        (3, 2, 1, 1),
        (3, 1, 1, 0),
        (1, 2, 0, 1),
        (5, 2, 2, 1),
        (3, 3, 0, 2),
        (2, 4, 0, 1),
        (5, 1, 4, 0),
    ],
)
def test_transposed_convolutions(dims, kernel, stride, padding, extra):
    write = StepWriter(dims)
    sides = {"padding": (padding,) * dims, "extra": (extra,) * dims}
    write.transposed(IMAGE, "a", (4, 5), (kernel,) * dims, (stride,) * dims, **sides, bias="used")
    kind = {2: torch.nn.ConvTranspose2d, 3: torch.nn.ConvTranspose3d}[dims]
    compare(write.steps, kind(4, 5, kernel, stride, padding, extra), image(dims))


def test_sides_of_a_convolution_have_sizes_of_their_own():
    write = StepWriter(3)
    write.conv(IMAGE, "a", (4, 5), (1, 3, 5), (1, 2, 1), padding=(0, 1, 2))
    compare(write.steps, torch.nn.Conv3d(4, 5, (1, 3, 5), (1, 2, 1), (0, 1, 2), bias=False), image(3))
    write = StepWriter(3)
    write.transposed(IMAGE, "a", (4, 5), (3, 1, 2), (2, 1, 2), padding=(1, 0, 0), extra=(1, 0, 0))
    compare(
        write.steps,
        torch.nn.ConvTranspose3d(4, 5, (3, 1, 2), (2, 1, 2), (1, 0, 0), (1, 0, 0), bias=False),
        image(3),
    )


@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "transposed"])
def test_channels_of_two_images(transposed):
    class Joined(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Conv3d(4, 2, 1)
            self.b = torch.nn.ConvTranspose3d(6, 3, 2, 2) if transposed else torch.nn.Conv3d(6, 3, 3, padding=1)

        def forward(self, inputs):
            return self.b(torch.cat([inputs, self.a(inputs)], 1))

    write = StepWriter(3)
    inner = write.conv(IMAGE, "a.a", (4, 2), (1, 1, 1), bias="used")
    joined = write.join(IMAGE, inner)
    if transposed:
        write.transposed(joined, "a.b", (6, 3), (2, 2, 2), (2, 2, 2), bias="used")
    else:
        write.conv(joined, "a.b", (6, 3), (3, 3, 3), bias="used")
    compare(write.steps, Joined(), image(3))


@pytest.mark.parametrize(
    ("norm", "make"),
    [
        pytest.param(Norm("instance", False), lambda: torch.nn.InstanceNorm3d(4), id="instance"),
        pytest.param(
            Norm("instance", True, eps=0.2), lambda: torch.nn.InstanceNorm3d(4, 0.2, affine=True), id="affine"
        ),
        pytest.param(
            Norm("instance", False, tracked=True),
            lambda: torch.nn.InstanceNorm3d(4, track_running_stats=True),
            id="instance with statistics",
        ),
        pytest.param(Norm("batch", True, tracked=True), lambda: torch.nn.BatchNorm3d(4), id="batch"),
        pytest.param(
            Norm("batch", False, tracked=True),
            lambda: torch.nn.BatchNorm3d(4, affine=False),
            id="batch, not affine",
        ),
        pytest.param(Norm("group", True, eps=0.1, groups=2), lambda: torch.nn.GroupNorm(2, 4, 0.1), id="group"),
        pytest.param(
            Norm("group", False, groups=1), lambda: torch.nn.GroupNorm(1, 4, affine=False), id="group, not affine"
        ),
    ],
)
def test_normalisations(norm, make):
    write = StepWriter(3)
    write.norm(IMAGE, "a", 4, norm)
    compare(write.steps, make(), image(3) * 3 + 5)


@pytest.mark.parametrize(
    ("activation", "make"),
    [
        pytest.param(Activation("relu"), torch.nn.ReLU, id="relu"),
        pytest.param(Activation("relu6"), torch.nn.ReLU6, id="relu6"),
        pytest.param(Activation("leakyrelu", 0.2), lambda: torch.nn.LeakyReLU(0.2), id="leakyrelu"),
        pytest.param(Activation("leakyrelu", 3), lambda: torch.nn.LeakyReLU(3), id="a slope above 1"),
        pytest.param(Activation("elu", 0.7), lambda: torch.nn.ELU(0.7), id="elu"),
        pytest.param(Activation("sigmoid"), torch.nn.Sigmoid, id="sigmoid"),
        pytest.param(Activation("tanh"), torch.nn.Tanh, id="tanh"),
        pytest.param(Activation("swish"), torch.nn.SiLU, id="swish"),
        pytest.param(Activation("mish"), torch.nn.Mish, id="mish"),
    ],
)
def test_activations(activation, make):
    """Also far from 0, where a formula could overflow."""
    write = StepWriter(3)
    write.activation(IMAGE, activation)
    compare(write.steps, make(), image(3) * 40)


@pytest.mark.parametrize("count", [1, 4])
def test_learned_slopes(count):
    write = StepWriter(3)
    write.activation(IMAGE, Activation("prelu"), "a", count)
    compare(write.steps, torch.nn.PReLU(count), image(3))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("factor", [2, 3])
def test_interpolation(dims, factor):
    mode = {2: "bilinear", 3: "trilinear"}[dims]
    step = Step("resize", (IMAGE,), stride=(factor,) * dims)
    compare([step], torch.nn.Upsample(scale_factor=factor, mode=mode, align_corners=False), image(dims))


def test_pooling_and_sums():
    class Both(torch.nn.Module):
        def forward(self, inputs):
            pooled = torch.nn.functional.avg_pool3d(inputs, (2, 3, 2))
            return pooled + torch.relu(pooled)

    pooled = Step("pool", (IMAGE,), stride=(2, 3, 2))
    steps = [pooled, Step("activation", (1,), activation=Activation("relu")), Step("add", (1, 2))]
    compare(steps, Both(), image(3))


def test_the_image_is_not_changed():
    windows = image(3)
    before = windows.copy()
    reference_logits([Step("activation", (IMAGE,), activation=Activation("relu"))], [{}], windows)
    np.testing.assert_array_equal(windows, before)


def test_a_second_name_of_weights():
    write = StepWriter(3)
    write.conv(IMAGE, "a", (1, 2), (3, 3, 3), bias="used", also="b")
    write.unused("c", (1, 2), (1, 1, 1), "none")
    shapes = {"a.weight": (2, 1, 3, 3, 3), "a.bias": (2,), "c.weight": (2, 1, 1, 1, 1)}
    assert weights_of(write.steps) == shapes | {"b.weight": (2, 1, 3, 3, 3), "b.bias": (2,)}
