"""The two U-Nets against the package that nnU-Net uses, where that can be imported."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the nnunet extra")

from itk_infer.model.kinds.network_steps.openvino_graph import openvino_graph  # noqa: E402
from itk_infer.model.kinds.network_steps.reference import reference_logits  # noqa: E402
from itk_infer.model.kinds.network_steps.step import weights_of  # noqa: E402
from itk_infer.model.kinds.nnunet.architecture import read_architecture  # noqa: E402
from itk_infer.model.kinds.nnunet.graph import has_graph, steps_of  # noqa: E402
from itk_infer.model.kinds.nnunet.json_block import JsonBlock  # noqa: E402
from itk_infer.model.kinds.nnunet.networks import MeanOfFolds, UNet, build  # noqa: E402
from itk_infer.model.kinds.nnunet.weights import Checkpoint, load_strictly, own_names  # noqa: E402

NO_REFERENCE = "needs dynamic-network-architectures (pip install --no-deps dynamic-network-architectures==0.4.4)"
REQUIRED = ["conv_op", "norm_op", "dropout_op", "nonlin"]


def described(kind: str, dims: int, seed: int) -> dict:
    """Random settings of a network, as plans write them."""
    pick = random.Random(seed)
    stages = pick.choice([2, 3, 4])
    plain = kind == "PlainConvUNet"
    norm = pick.choice([f"InstanceNorm{dims}d", f"BatchNorm{dims}d", f"InstanceNorm{dims}d", None])
    nonlin, slope = pick.choice(
        [("LeakyReLU", {"inplace": True, "negative_slope": 0.2}), ("ReLU", {"inplace": True})]
    )
    kwargs = {
        "n_stages": stages,
        "features_per_stage": [pick.choice([4, 6, 8]) for _ in range(stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [[pick.choice([1, 3]) for _ in range(dims)] for _ in range(stages)],
        "strides": [[1] * dims, *([pick.choice([1, 2]) for _ in range(dims)] for _ in range(stages - 1))],
        ("n_conv_per_stage" if plain else "n_blocks_per_stage"): [pick.choice([1, 2, 3]) for _ in range(stages)],
        "n_conv_per_stage_decoder": [pick.choice([1, 2]) for _ in range(stages - 1)],
        "conv_bias": pick.random() < 0.7,
        "norm_op": norm and f"torch.nn.{norm}",
        "norm_op_kwargs": {"eps": 1e-5, "affine": pick.random() < 0.8} if norm else None,
        "dropout_op": pick.choice([None, f"torch.nn.Dropout{dims}d"]),
        "dropout_op_kwargs": {"p": 0.3, "inplace": True},
        "nonlin": f"torch.nn.{nonlin}",
        "nonlin_kwargs": slope,
    }
    if plain and pick.random() < 0.3:
        kwargs["nonlin_first"] = True
    if not plain:
        kwargs["stem_channels"] = pick.choice([None, 5])
        if pick.random() < 0.4:
            kwargs["block"] = "dynamic_network_architectures.building_blocks.residual.BottleneckD"
            kwargs["bottleneck_channels"] = [3 + stage for stage in range(stages)]
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": kwargs,
        "_kw_requires_import": REQUIRED,
    }


def reference_network(architecture: dict, inputs: int, outputs: int, *, deep: bool):
    """As nnU-Net builds it."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet", reason=NO_REFERENCE)
    from pydoc import locate

    kwargs = dict(architecture["arch_kwargs"])
    for name in (*REQUIRED, "block"):
        if kwargs.get(name) is not None:
            kwargs[name] = locate(kwargs[name])
    kind = getattr(unet, architecture["network_class_name"].rpartition(".")[2])
    return kind(input_channels=inputs, num_classes=outputs, deep_supervision=deep, **kwargs)


def own_network(architecture: dict, dims: int, state: dict, inputs: int, outputs: int):
    about = read_architecture(JsonBlock({"architecture": architecture}, "plans.json"), dims)
    network = build(about, inputs, outputs)
    checkpoint = Checkpoint(
        Path("checkpoint.pth"),
        own_names({name: value.detach().numpy() for name, value in state.items()}),
        "nnUNetTrainer",
        "3d_fullres",
        None,
        None,
        (),
    )
    load_strictly(network, checkpoint, about)
    return network.eval()


def scatter_weights(network) -> None:
    """Other values than those that a new network has, also in biases and norms."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape, generator=generator)
                value.copy_(noise + 0.5 if "running_var" in name else noise - 0.5)


@pytest.mark.parametrize("deep", [True, False], ids=["deep supervision", "one head"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_names_and_outputs_are_those_of_the_original(kind, dims, seed, deep):
    architecture = described(kind, dims, 100 * dims + seed)
    original = reference_network(architecture, 2, 3, deep=deep).eval()
    scatter_weights(original)
    network = own_network(architecture, dims, original.state_dict(), 2, 3)
    inputs = torch.randn((2, 2, *([24, 16, 32][:dims])), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        expected = original(inputs.clone())
        expected = expected[0] if deep else expected
        found = network(inputs)
    scale = float(expected.abs().max())
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, scale)


def answers_without_torch(about, state: dict, windows: np.ndarray, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Of NumPy and of OpenVINO."""
    openvino = pytest.importorskip("openvino", reason="needs the nnunet extra")
    weights = own_names({name: value.detach().numpy() for name, value in state.items()})
    steps = steps_of(about, windows.shape[1], outputs)
    assert weights_of(steps) == {name: value.shape for name, value in weights.items()}
    graph = openvino_graph(steps, [weights], windows.shape)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return reference_logits(steps, [weights], windows), compiled({0: windows})[0]


def compare(found: tuple[np.ndarray, np.ndarray], expected: np.ndarray) -> None:
    """OpenVINO's own normalisation is less exact, whatever its model is made from."""
    for answer, tolerated in zip(found, (1e-5, 1e-3)):
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max() <= tolerated * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_names_and_outputs_without_torch_are_those_of_the_original(kind, dims, seed):
    architecture = described(kind, dims, 1000 * dims + seed)
    original = reference_network(architecture, 2, 3, deep=True).eval()
    scatter_weights(original)
    about = read_architecture(JsonBlock({"architecture": architecture}, "plans.json"), dims)
    inputs = torch.randn((2, 2, *([24, 16, 32][:dims])), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        expected = original(inputs.clone())[0].numpy()
    compare(answers_without_torch(about, original.state_dict(), inputs.numpy(), 3), expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"norm": "Instance", "norm_keywords": {"track_running_stats": True, "affine": True}},
        {"norm": "Instance", "norm_keywords": {"track_running_stats": True}},
        {"norm": "Instance", "norm_keywords": {"eps": 0.1}},
        {"norm": "Batch", "norm_keywords": {"affine": False, "momentum": 0.3}},
        {"norm": "Batch", "norm_keywords": {"eps": 0.1}, "activation_first": True},
        {"activation": None},
        {"activation_keywords": {"negative_slope": 2}},
        {"activation_keywords": {"negative_slope": -0.5}},
        {"kernels": ((5, 1, 3), (3, 7, 3), (1, 1, 1)), "strides": ((1, 1, 1), (1, 2, 4), (2, 1, 1))},
        {"strides": ((2, 1, 2), (1, 2, 1), (2, 2, 2)), "bias": False},  # nnU-Net's own never stride at first
    ],
    ids=str,
)
def test_rarer_settings_without_torch(changed):
    about = read_architecture(JsonBlock({"architecture": described("PlainConvUNet", 3, 7)}, "plans.json"), 3)
    three = {"features": (4, 6, 8), "encoder": (1, 2, 1), "decoder": (1, 1)}
    sizes = {"kernels": ((3, 3, 3),) * 3, "strides": ((1, 1, 1), (2, 2, 2), (1, 2, 2))}
    about = replace(about, **{"activation": "LeakyReLU", **three, **sizes, **changed})
    torch.manual_seed(3)
    network = UNet(about, 1, 4).eval()
    scatter_weights(network)
    inputs = torch.randn((1, 1, 16, 16, 16))
    if about.strides[0] != (1, 1, 1):  # each output is as large as the finest stage
        assert network(inputs).shape[2:] == (8, 16, 8)
    with torch.inference_mode():
        expected = network(inputs).numpy()
    compare(answers_without_torch(about, network.state_dict(), inputs.numpy(), 4), expected)


@pytest.mark.parametrize("norm", ["Instance", "Batch"])
def test_statistics_of_a_call_need_torch(norm):
    """Batch norm without statistics from training takes those of all windows of a call."""
    about = read_architecture(JsonBlock({"architecture": described("PlainConvUNet", 3, 7)}, "plans.json"), 3)
    keywords = {"track_running_stats": False}
    assert has_graph(replace(about, norm=norm, norm_keywords=keywords)) == (norm == "Instance")


@pytest.mark.parametrize("block", ["BasicBlockD", "BottleneckD", None])
def test_dropout_is_where_the_original_has_it(block):
    """Under the same names, with the same share; it drops only while its layer is switched on."""
    from itk_infer.model.runtimes.torch_dropout import dropout_layers

    architecture = described("ResidualEncoderUNet" if block else "PlainConvUNet", 3, 300)
    kwargs = architecture["arch_kwargs"] | {"dropout_op": "torch.nn.Dropout3d", "bottleneck_channels": None}
    if block:
        kwargs |= {"block": f"dynamic_network_architectures.building_blocks.residual.{block}"}
        kwargs |= {"bottleneck_channels": [3] * kwargs["n_stages"]} if block == "BottleneckD" else {}
    else:
        del kwargs["bottleneck_channels"]
    architecture["arch_kwargs"] = kwargs
    original = reference_network(architecture, 2, 3, deep=False).eval()
    scatter_weights(original)
    network = own_network(architecture, 3, original.state_dict(), 2, 3)
    assert len(dropout_layers(network)) == len(dropout_layers(original)) > 0
    assert {layer.p for layer in dropout_layers(network)} == {0.3}
    inputs = torch.randn((1, 2, 24, 16, 32), generator=torch.Generator().manual_seed(3))
    answers = {}
    for name, model in (("original", original), ("ours", network)):
        for layer in dropout_layers(model):
            layer.train()
        torch.manual_seed(7)  # both draw the same channels, in the same order
        with torch.inference_mode():
            answers[name] = model(inputs.clone())
    torch.testing.assert_close(answers["ours"], answers["original"], rtol=0, atol=1e-4)
    for layer in dropout_layers(network):
        layer.eval()
    with torch.inference_mode():
        assert not torch.equal(network(inputs), answers["ours"])


def plain(dims: int = 3) -> dict:
    return {
        "network_class_name": "somewhere.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": f"torch.nn.Conv{dims}d",
            "kernel_sizes": 3,
            "strides": [1, 2, 2],
            "n_conv_per_stage": 2,
            "n_conv_per_stage_decoder": 2,
            "conv_bias": True,
            "norm_op": f"torch.nn.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    }


def new_network(seed: int, **changed):
    architecture = plain()
    architecture["arch_kwargs"].update(changed)
    about = read_architecture(JsonBlock({"architecture": architecture}, "plans.json"), 3)
    network = build(about, 1, 2)
    torch.manual_seed(seed)
    scatter_weights(network)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value += seed * 0.1 * torch.rand(value.shape)
    return network.eval()


def test_biases_before_an_instance_norm_are_left_out_and_change_rounding_only():
    network = new_network(3)
    inputs = torch.randn((1, 1, 16, 24, 16))
    with torch.inference_mode():
        before = network(inputs)
        dropped = network.drop_idle_biases()
        after = network(inputs)
    assert dropped == 2 * 3 + 2 * 2  # convolutions; not the two transposed ones, nor the heads
    assert 0 < float((before - after).abs().max()) < 1e-4 * float(before.abs().max())
    assert network.decoder.transpconvs[0].bias is not None
    assert network.decoder.seg_layers[-1].bias is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"norm_op": "torch.nn.BatchNorm3d"},
        {"norm_op": None},
        {"nonlin_first": True},
        {"norm_op_kwargs": {"affine": True, "track_running_stats": True}},
    ],
    ids=["batch norm", "no norm", "activation between", "statistics of training"],
)
def test_other_biases_stay(changed):
    assert new_network(3, **changed).drop_idle_biases() == 0


def test_the_mean_of_folds():
    networks = [new_network(seed) for seed in (1, 2, 3)]
    inputs = torch.randn((2, 1, 8, 8, 8))
    with torch.inference_mode():
        expected = torch.stack([network(inputs) for network in networks]).mean(0)
        found = MeanOfFolds(networks)(inputs)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, networks[0](inputs), atol=1e-3)


RESIDUAL_NAMES = """
encoder.stem.convs.0.conv encoder.stem.convs.0.norm
encoder.stages.0.blocks.0.conv1.conv encoder.stages.0.blocks.0.conv1.norm
encoder.stages.0.blocks.0.conv2.conv encoder.stages.0.blocks.0.conv2.norm
encoder.stages.1.blocks.0.conv1.conv encoder.stages.1.blocks.0.conv1.norm
encoder.stages.1.blocks.0.conv2.conv encoder.stages.1.blocks.0.conv2.norm
encoder.stages.1.blocks.0.skip.1.conv encoder.stages.1.blocks.0.skip.1.norm
encoder.stages.1.blocks.1.conv1.conv encoder.stages.1.blocks.1.conv1.norm
encoder.stages.1.blocks.1.conv2.conv encoder.stages.1.blocks.1.conv2.norm
decoder.stages.0.convs.0.conv decoder.stages.0.convs.0.norm
decoder.transpconvs.0 decoder.seg_layers.0
"""  # as nnU-Net's checkpoints have them, without what is listed twice


def residual(**changed):
    kwargs = plain()["arch_kwargs"] | {"n_stages": 2, "features_per_stage": [4, 8], "strides": [1, 2]}
    kwargs |= {"n_blocks_per_stage": [1, 2], "n_conv_per_stage_decoder": 1, **changed}
    del kwargs["n_conv_per_stage"]
    about = {"network_class_name": "ResidualEncoderUNet", "arch_kwargs": kwargs}
    network = build(read_architecture(JsonBlock({"architecture": about}, "plans.json"), 3), 1, 2)
    scatter_weights(network)
    return network.eval()


@pytest.mark.parametrize("block", ["BasicBlockD", "BottleneckD"])
def test_names_of_the_residual_network(block):
    bottleneck = {"bottleneck_channels": [2, 3]} if block == "BottleneckD" else {}
    network = residual(block=block, **bottleneck)
    names = {name.rpartition(".")[0] for name in network.state_dict()}
    third = {name.replace("conv1", "conv3") for name in RESIDUAL_NAMES.split() if "conv1" in name}
    assert names == set(RESIDUAL_NAMES.split()) | (third if bottleneck else set())
    assert "encoder.stages.1.blocks.0.skip.1.conv.bias" not in network.state_dict()
    with torch.inference_mode():
        assert network(torch.ones((1, 1, 8, 8, 8))).shape == (1, 2, 8, 8, 8)


@pytest.mark.parametrize("block", ["BasicBlockD", "BottleneckD"])
def test_a_residual_block_adds_its_path_to_the_input(block):
    bottleneck = {"bottleneck_channels": [2, 3]} if block == "BottleneckD" else {}
    network = residual(block=block, norm_op=None, **bottleneck)
    stage = network.encoder.stages[0].blocks[0]  # neither stride nor other channels
    last = stage.conv3 if bottleneck else stage.conv2
    with torch.inference_mode():
        last.conv.weight.zero_()
        last.conv.bias.fill_(1.0)
        inputs = torch.randn((1, 4, 4, 4, 4))
        torch.testing.assert_close(stage(inputs), torch.nn.functional.leaky_relu(inputs + 1.0))


def test_the_decoder_takes_out_what_it_used():
    """So that results of the encoder are freed before the convolutions that need the most memory."""
    about = described("PlainConvUNet", 3, 1)
    network = build(read_architecture(JsonBlock({"architecture": about}, "test"), 3), 1, 2)
    skips = network.encoder(torch.zeros((1, 1, 16, 16, 16)))
    assert len(skips) > 1
    network.decoder(skips)
    assert skips == []
