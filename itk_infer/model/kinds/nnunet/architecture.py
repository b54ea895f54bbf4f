"""The network that plans describe, without torch: old and new plans are read into the same class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.json_block import JsonBlock, whole

NetworkName = Literal["PlainConvUNet", "ResidualEncoderUNet"]
Sizes = tuple[tuple[int, ...], ...]  # one per stage, along the network's axes

_COMMON = {
    *("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_conv_per_stage_decoder"),
    *("conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs"),
    "deep_supervision",
}
_OWN: dict[NetworkName, set[str]] = {
    "PlainConvUNet": {"n_conv_per_stage", "nonlin_first"},
    "ResidualEncoderUNet": {"n_blocks_per_stage", "block", "bottleneck_channels", "stem_channels"},
}
# Classes by the last part of their dotted names, and the keywords that are understood.
_NORMS = {f"{kind}Norm{n}d": (kind, n) for kind in ("Instance", "Batch") for n in (2, 3)}
_NORM_KEYWORDS = {"eps", "affine", "momentum", "track_running_stats"}
_ACTIVATIONS = {"LeakyReLU": {"inplace", "negative_slope"}, "ReLU": {"inplace"}}
_DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
_BLOCKS = ("BasicBlockD", "BottleneckD")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A U-Net of nnU-Net. Sequences have one entry per stage, from the finest to the coarsest.

    Attributes:
        network: Class of the network.
        dimensions: 2 or 3.
        features: Channels of each stage.
        kernels: Kernel sizes of each stage.
        strides: Strides of the first convolution of each stage.
        encoder: Convolutions (`PlainConvUNet`) or residual blocks of each stage of the encoder.
        decoder: Convolutions of each stage of the decoder, from the coarsest; one stage less.
        bias: Whether convolutions add a bias.
        norm: ``Instance``, ``Batch`` or none.
        norm_keywords: Keyword arguments of the normalisation.
        activation: Class in ``torch.nn``, or none.
        activation_keywords: Keyword arguments of the activation.
        activation_first: Whether it comes before the normalisation.
        block: Class of the residual blocks.
        bottleneck: Inner channels of `BottleneckD`, for each stage.
        stem: Channels of the stem of `ResidualEncoderUNet`.
        dropout: Class in ``torch.nn``, and the share that it drops; none where nothing is dropped.
    """

    network: NetworkName
    dimensions: int
    features: tuple[int, ...]
    kernels: Sizes
    strides: Sizes
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    bias: bool
    norm: str | None
    norm_keywords: Mapping[str, Any]
    activation: str | None
    activation_keywords: Mapping[str, Any]
    activation_first: bool = False
    block: str = "BasicBlockD"
    bottleneck: tuple[int, ...] = ()
    stem: int = 0
    dropout: tuple[str, float] | None = None


def read_architecture(configuration: JsonBlock, dimensions: int) -> Architecture:
    """Read the network of a configuration.

    Args:
        configuration: With ``architecture``, or with the keys of plans before nnU-Net 2.4, ``UNet_class_name``
            and others.
        dimensions: Dimensions of the patch, 2 or 3.

    Raises:
        ModelError: the network is neither of the two supported classes, or has an unknown setting.
    """
    if not configuration.has("architecture"):
        return _older(configuration, dimensions)
    about = configuration.block("architecture")
    keywords = about.block("arch_kwargs")
    network = _network(about.text("network_class_name"), configuration.where)
    unknown = sorted(keywords.content.keys() - _COMMON - _OWN[network])
    if unknown:
        raise ModelError(
            f"{keywords.where}: {', '.join(unknown)} of {network} is not understood: the network cannot be built"
        )
    operation = _last(keywords.text("conv_op"))
    if operation != f"Conv{dimensions}d":
        raise ModelError(
            f"{keywords.where}: conv_op is {operation}, and patch_size has {dimensions} entries; "
            f"only Conv{dimensions}d fits it"
        )
    stages = _stages(keywords)
    plain = network == "PlainConvUNet"
    norm, norm_keywords = _norm(keywords, dimensions)
    activation, activation_keywords = _activation(keywords)
    block = _last(keywords.text("block", "BasicBlockD"))
    if block not in _BLOCKS:
        raise ModelError(f"{keywords.where}: block {block} is not understood; {' and '.join(_BLOCKS)} are")
    features = _per_stage(keywords, "features_per_stage", stages)
    return Architecture(
        network,
        dimensions,
        features,
        _sizes(keywords, "kernel_sizes", stages, dimensions),
        _sizes(keywords, "strides", stages, dimensions),
        _per_stage(keywords, "n_conv_per_stage" if plain else "n_blocks_per_stage", stages),
        _per_stage(keywords, "n_conv_per_stage_decoder", stages - 1),
        keywords.switch("conv_bias", False),
        norm,
        norm_keywords,
        activation,
        activation_keywords,
        keywords.switch("nonlin_first", False),
        block,
        _per_stage(keywords, "bottleneck_channels", stages) if block == "BottleneckD" else (),
        int(keywords.number("stem_channels", features[0])),
        _dropout(keywords),
    )


def with_batch_norm(about: Architecture) -> Architecture:
    """The same network with batch normalisation, as nnUNetTrainerBN builds it."""
    return replace(about, norm="Batch", norm_keywords={"eps": 1e-5, "affine": True})


def _older(configuration: JsonBlock, dimensions: int) -> Architecture:
    """Read plans without ``architecture``, with nnU-Net's defaults for what they lack."""
    network = _network(configuration.text("UNet_class_name"), configuration.where)
    encoder = configuration.integers("n_conv_per_stage_encoder")
    stages = len(encoder)
    base, most = configuration.number("UNet_base_num_features"), configuration.number("unet_max_num_features")
    features = tuple(int(min(base * 2**stage, most)) for stage in range(stages))
    return Architecture(
        network,
        dimensions,
        features,
        _sizes(configuration, "conv_kernel_sizes", stages, dimensions),
        _sizes(configuration, "pool_op_kernel_sizes", stages, dimensions),
        encoder,
        _per_stage(configuration, "n_conv_per_stage_decoder", stages - 1),
        bias=True,
        norm="Instance",
        norm_keywords={"eps": 1e-5, "affine": True},
        activation="LeakyReLU",
        activation_keywords={"inplace": True},
        stem=features[0],
    )


def _network(dotted: str, where: str) -> NetworkName:
    name = _last(dotted)
    for known in _OWN:
        if name == known:
            return known
    raise ModelError(
        f"{where}: the network is {name}; of nnU-Net's, {' and '.join(_OWN)} can be run. Export it to ONNX"
    )


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]


def _stages(keywords: JsonBlock) -> int:
    stages = whole(keywords.content.get("n_stages"), keywords.wrong("n_stages", "a whole number"))
    if stages < 2:
        raise keywords.wrong("n_stages", "at least 2")
    return stages


def _per_stage(block: JsonBlock, key: str, stages: int) -> tuple[int, ...]:
    """One whole number per stage; a single number is used for all."""
    error = block.wrong(key, f"one positive whole number per stage ({stages})")
    given = block.content.get(key)
    values = given if isinstance(given, Sequence) and not isinstance(given, str) else [given] * stages
    numbers = tuple(whole(value, error) for value in values)
    if len(numbers) != stages or any(number < 1 for number in numbers):
        raise error
    return numbers


def _sizes(block: JsonBlock, key: str, stages: int, dimensions: int) -> Sizes:
    """One size per stage; a single number is used for all axes, or for all stages."""
    error = block.wrong(key, f"{dimensions} positive whole numbers per stage ({stages})")
    given = block.content.get(key)
    values = given if isinstance(given, list | tuple) else [given] * stages
    rows = [value if isinstance(value, list | tuple) else [value] * dimensions for value in values]
    sizes = tuple(tuple(whole(number, error) for number in row) for row in rows)
    if len(sizes) != stages or any(len(size) != dimensions or min(size) < 1 for size in sizes):
        raise error
    return sizes


def _norm(keywords: JsonBlock, dimensions: int) -> tuple[str | None, Mapping[str, Any]]:
    if not keywords.has("norm_op"):
        return None, {}
    name = _last(keywords.text("norm_op"))
    kind, size = _NORMS.get(name, ("", 0))
    if size != dimensions:
        raise ModelError(f"{keywords.where}: norm_op {name} is not understood in a {dimensions}D network")
    return kind, _understood(keywords, "norm_op_kwargs", _NORM_KEYWORDS)


def _activation(keywords: JsonBlock) -> tuple[str | None, Mapping[str, Any]]:
    if not keywords.has("nonlin"):
        return None, {}
    name = _last(keywords.text("nonlin"))
    if name not in _ACTIVATIONS:
        raise ModelError(
            f"{keywords.where}: nonlin {name} is not understood; {' and '.join(_ACTIVATIONS)} are. Export the "
            "network to ONNX"
        )
    return name, _understood(keywords, "nonlin_kwargs", _ACTIVATIONS[name])


def _dropout(keywords: JsonBlock) -> tuple[str, float] | None:
    """Kind and probability of dropout, for `mc_dropout`; None for other kinds, or without dropout."""
    name = _last(keywords.text("dropout_op")) if keywords.has("dropout_op") else ""
    share = keywords.block("dropout_op_kwargs").number("p", 0.5) if keywords.has("dropout_op_kwargs") else 0.5
    return (name, share) if name in _DROPOUTS and 0 < share <= 1 else None


def _understood(keywords: JsonBlock, key: str, known: set[str]) -> Mapping[str, Any]:
    if not keywords.has(key):
        return {}
    block = keywords.block(key)
    for name, value in block.content.items():
        if name not in known or not isinstance(value, bool | int | float):
            raise ModelError(f"{block.where}: {name}={str(value)[:40]} is not understood")
    return dict(block.content)
