"""Networks that are written down as steps, against MONAI's own."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest

from itk_infer.model.kinds.monai_bundle.network_def import NETWORKS, NetworkDef
from itk_infer.model.kinds.monai_bundle.steps.described import DESCRIBED, steps_of
from itk_infer.model.kinds.monai_bundle.steps.layers import NotDescribed
from itk_infer.model.kinds.network_steps.openvino_graph import openvino_graph
from itk_infer.model.kinds.network_steps.reference import reference_logits
from itk_infer.model.kinds.network_steps.step import weights_of
from itk_infer.model.runtimes.openvino_norms import normalise_exactly

torch = pytest.importorskip("torch", reason="torch is not installed")
nets = pytest.importorskip("monai.networks.nets", reason="monai is not installed")
openvino = pytest.importorskip("openvino", reason="openvino is not installed")

NORMS = [
    *("instance", "INSTANCE", "batch", "Batch", ["instance", {"affine": True, "eps": 0.01}]),
    *(["batch", {"affine": False}], ["group", {"num_groups": 2}], ["GROUP", {"num_groups": 4, "affine": False}]),
    ["instance", {"track_running_stats": True}],
]
ACTIVATIONS = [
    *("prelu", "PRELU", "relu", "relu6", "leakyrelu", "elu", "swish", "memswish", "mish", "sigmoid", "tanh"),
    *(["leakyrelu", {"negative_slope": 0.3, "inplace": True}], ["prelu", {"init": 0.1}], ["elu", {"alpha": 0.4}]),
    *(["swish", {"alpha": 0.5}], ["relu", {"inplace": True}]),
]
DROPOUTS = [0.2, ["dropout", {"p": 0.3}], ["alphadropout", {"p": 0.3}]]


def of_unet(pick: random.Random, dims: int) -> dict:
    stages = pick.choice([2, 3, 4])
    units = pick.choice([0, 1, 2, 3])
    return {
        "channels": [pick.choice([4, 8, 12]) for _ in range(stages)],
        "strides": [
            pick.choice([1, 2, 2, [2, *[1] * (dims - 1)]]) for _ in range(stages - 1 + pick.choice([0, 0, 1]))
        ],
        "kernel_size": pick.choice([3, 3, 5, [3, 1, 3][:dims]]),
        "up_kernel_size": pick.choice([3, 3, 1, [5, 3, 1][:dims]]),
        "num_res_units": units,
        "act": pick.choice([*ACTIVATIONS, None, ""]),
        "norm": pick.choice([*NORMS, None, ""]),
        "dropout": pick.choice([0.0, *DROPOUTS]),
        "bias": pick.random() < 0.7,
        "adn_ordering": pick.choice(["NDA", "NDA", "ADN", "and", "N", "A"]),
    }


def of_dynunet(pick: random.Random, dims: int) -> dict:
    stages = pick.choice([3, 4])
    strides = [1, *(pick.choice([2, 2, [1, 2, 2][:dims]]) for _ in range(stages - 1))]
    return {
        "kernel_size": [pick.choice([3, 3, 5, [3, 5, 3][:dims]]) for _ in range(stages)],
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": [pick.choice([4, 8, 12]) for _ in range(stages + pick.choice([0, 1]))],
        "dropout": pick.choice([None, *DROPOUTS]),
        "norm_name": pick.choice([*NORMS, ["instance", {"affine": True}]]),
        "act_name": pick.choice(ACTIVATIONS),
        "deep_supervision": pick.random() < 0.5,
        "deep_supr_num": 1 if stages == 3 else pick.choice([1, 2]),
        "res_block": pick.random() < 0.5,
        "trans_bias": pick.random() < 0.5,
    }


def of_segresnet(pick: random.Random, dims: int) -> dict:
    stages = pick.choice([1, 2, 3])
    return {
        "init_filters": pick.choice([4, 8]),
        "dropout_prob": pick.choice([None, 0.3]),
        "act": pick.choice(ACTIVATIONS),
        "norm": pick.choice([*NORMS, ["group", {"num_groups": 4}]]),
        "num_groups": pick.choice([4, 8]),
        "blocks_down": [pick.choice([1, 2]) for _ in range(stages)],
        "blocks_up": [pick.choice([1, 2]) for _ in range(stages - 1)],
        "upsample_mode": pick.choice(["nontrainable", "nontrainable", "deconv"]),
    }


ARGUMENTS = {"UNet": of_unet, "DynUNet": of_dynunet, "SegResNet": of_segresnet}


def definition(name: str, arguments: dict, inputs: int = 2, outputs: int = 4, dims: int = 3) -> NetworkDef:
    given = {"spatial_dims": dims, "in_channels": inputs, "out_channels": outputs, **arguments}
    return NetworkDef(name, given, inputs, outputs, dims)


def original(about: NetworkDef):
    """MONAI's network, with other weights than those of a new one, also in biases and norms."""
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about strides that are not used
        network = getattr(nets, about.name)(**about.arguments).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape)
                value.copy_(noise + 0.5 if "running_var" in name else noise - 0.5)
    return network


def logits(about: NetworkDef, network, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of NumPy and of OpenVINO; the names of the weights must be those of torch."""
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    steps = steps_of(about)
    assert weights_of(steps) == {name: value.shape for name, value in weights.items()}
    graph = openvino_graph(steps, [weights], windows.shape)
    normalise_exactly(graph)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return reference_logits(steps, [weights], windows), compiled({0: windows})[0]


def compare(about: NetworkDef) -> None:
    """Errors are those against torch in float64, beyond torch's own in float32: without norms, values grow."""
    network = original(about)
    sides = [16, 8, 24][: about.dimensions]
    windows = np.random.default_rng(4).standard_normal((2, about.inputs, *sides), np.float32)
    with torch.inference_mode():
        rounded = network(torch.from_numpy(windows)).numpy()
        expected = network.double()(torch.from_numpy(windows).double()).numpy()
    network.float()
    of_numpy, of_openvino = logits(about, network, windows)
    assert of_numpy.shape == of_openvino.shape == expected.shape
    scale, torchs = max(1.0, float(np.abs(expected).max())), np.abs(rounded - expected).max()
    assert torchs <= 1e-4 * scale
    assert np.abs(of_numpy - expected).max() <= 1e-5 * scale + torchs
    assert np.abs(of_openvino - expected).max() <= 5e-5 * scale + torchs


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_names_and_logits_are_those_of_monai(name, dims, seed):
    pick = random.Random(100 * dims + seed)
    compare(definition(name, ARGUMENTS[name](pick, dims), dims=dims))


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_each_normalisation(norm):
    compare(definition("UNet", {"channels": [4, 8], "strides": [2], "norm": norm}))


@pytest.mark.parametrize("act", ACTIVATIONS, ids=str)
def test_each_activation(act):
    compare(definition("UNet", {"channels": [4, 8], "strides": [2], "act": act, "norm": "batch"}))


def test_one_slope_per_channel():
    act = ["prelu", {"num_parameters": 8}]
    compare(definition("UNet", {"channels": [8, 8], "strides": [2], "act": act, "num_res_units": 1}, outputs=8))


def test_a_stride_as_large_as_the_kernel():
    """`DynUNet` pads less then."""
    strides = [[1, 2, 3], 2]
    arguments = {"kernel_size": [3, 3, 3], "strides": [1, *strides], "upsample_kernel_size": strides}
    compare(definition("DynUNet", {**arguments, "filters": [4, 4, 4]}))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("UNet", {"channels": [4, 8], "strides": [2]}, id="UNet"),
        pytest.param(
            "DynUNet",
            {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": None},
            id="DynUNet",
        ),
        pytest.param("SegResNet", {}, id="SegResNet"),
    ],
)
def test_defaults_are_those_of_monai(name, arguments):
    compare(definition(name, arguments))


def test_a_size_that_is_halved_with_a_rest():
    """MONAI's network does not run on it, nor do the steps."""
    about = definition("UNet", {"channels": [4, 8, 8], "strides": [2, 2]})
    network = original(about)
    windows = np.zeros((1, 2, 18, 8, 8), np.float32)
    with pytest.raises(RuntimeError):
        network(torch.from_numpy(windows))
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="dimensions|broadcast"):
        reference_logits(steps_of(about), [weights], windows)


SMALL = {"channels": [4, 8], "strides": [2]}
FLAT = {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("BasicUNet", {}, "BasicUNet is not one of"),
        ("UNet", {"channels": [4, 8]}, "missing a required argument: 'strides'"),
        ("UNet", {**SMALL, "shape": 3}, "unexpected keyword argument 'shape'"),
        ("UNet", {**SMALL, "norm": "layer"}, "norm 'layer'"),
        ("UNet", {**SMALL, "norm": ["batch", {"track_running_stats": False}]}, "without statistics"),
        ("UNet", {**SMALL, "norm": ["group", {"num_groups": 3}]}, "3 groups of 4 channels"),
        ("UNet", {**SMALL, "norm": ["instance", {"num_features": 4}]}, "norm has num_features"),
        ("UNet", {**SMALL, "act": "gelu"}, "activation 'gelu'"),
        ("UNet", {**SMALL, "act": ["prelu", {"num_parameters": 3}]}, "3 weights for 4 channels"),
        ("UNet", {**SMALL, "kernel_size": 2}, "even size"),
        ("UNet", {**SMALL, "kernel_size": [3, 3]}, "in 3 dimensions"),
        ("UNet", {**SMALL, "adn_ordering": "NAN"}, "adn_ordering"),
        ("UNet", {**SMALL, "dropout": 2}, "dropout 2"),
        ("UNet", {**SMALL, "bias": "True"}, "bias is 'True'"),
        ("UNet", {**SMALL, "strides": []}, "strides are"),
        pytest.param(
            "UNet", {"channels": [1] * 1000, "strides": [1] * 999}, "hundreds of stages", id="hundreds of stages"
        ),
        ("DynUNet", {**FLAT, "upsample_kernel_size": [2]}, "1 kernels upwards"),
        ("DynUNet", {**FLAT, "filters": [4, 8]}, "2 filters for 3 stages"),
        ("DynUNet", {**FLAT, "strides": [1, 4, 2], "kernel_size": [3, 2, 3]}, "has a stride of"),
        ("DynUNet", {**FLAT, "deep_supervision": True, "deep_supr_num": 2}, "deep_supr_num is 2"),
        ("SegResNet", {"upsample_mode": "pixelshuffle"}, "upsample_mode"),
        ("SegResNet", {"use_conv_final": False}, "last convolution"),
        ("SegResNet", {"blocks_up": [1]}, "4 stages down and 1 up"),
    ],
    ids=str,
)
def test_what_is_not_described_says_why(name, arguments, why):
    with pytest.raises(NotDescribed, match=why):
        steps_of(definition(name, arguments))


def test_only_networks_that_can_be_built_are_described():
    assert set(DESCRIBED) <= NETWORKS
