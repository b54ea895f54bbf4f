"""Images of few channels in OpenVINO, with several voxels per vector.

OpenVINO keeps channels last in memory, and a convolution computes the channels of a voxel in vectors of 16 numbers
(AVX-512); of 8 or 2 channels, most of a vector is idle. Here such convolutions make several voxels at once, as
channels of one: a *wide* image. It has `blocks` voxels in one, per axis:

* Neighbours along the last axis are the same memory as voxels of more channels. A convolution makes them by a
  longer stride and a longer kernel, which has its weights once per neighbour, shifted, and zeros beside them.
* A transposed convolution of stride 2 makes the 2 x 2 x 2 voxels of its output that lie on one of its input.

What follows voxel by voxel, means over all voxels, and convolutions of a stride take wide images. The numbers are
sums of the same products. How copies are avoided is in `openvino_views`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from itk_infer.model.runtimes import openvino_wide_weights as weights_of
from itk_infer.model.runtimes.openvino_folded import fold_constants
from itk_infer.model.runtimes.openvino_views import Blocks, joined, keep_sum_apart, separated

LANES = 16  # numbers in a vector
WORTH = 3  # vectors saved per number of the output: where the image is copied nevertheless, that takes about two
CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData")
VOXEL_BY_VOXEL = (
    "Relu",
    "PRelu",
    "Elu",
    "Sigmoid",
    "Tanh",
    "Clamp",
    "Swish",
    "Mish",
    "Gelu",
    "BatchNormInference",
)
OF_TWO = ("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "SquaredDifference")
PER_CHANNEL = ("PRelu", "BatchNormInference")  # whose other operands may be lists


def fill_vectors(model: Any) -> None:
    """Let an `openvino.Model` of fixed sizes make wide images where vectors would be idle, in place."""
    if not any(blocks_of(node) for node in model.get_ordered_ops()):
        return
    fold_constants(model)
    _Widening().run(model)
    model.validate_nodes_and_infer_types()


def blocks_of(node: Any) -> Blocks:
    """How many voxels per axis a convolution is to make at once; empty for others, and where it stays as it is."""
    if not _is_plain(node):
        return ()
    channels, *sides = (int(side) for side in node.get_output_shape(0)[1:])
    given, kernel = (tuple(int(side) for side in node.get_input_shape(number)[2:]) for number in (0, 1))
    strides, none = node.get_attributes()["strides"], (1,) * (len(sides) - 1)
    if node.get_type_name() == "ConvolutionBackpropData":
        doubled = [
            stride == 2 and side == 2 * own for stride, side, own in zip(strides, sides, given, strict=True)
        ]
        if all(doubled) and channels * 2 ** len(sides) <= LANES:
            return (2,) * len(sides)
        return (*none, 2) if doubled[-1] and 2 * channels <= LANES else ()

    def vectors(count: int) -> Any:
        """Per voxel, and per input channel and row of the kernel."""
        return math.ceil(count * channels / LANES) * (kernel[-1] + (count - 1) * strides[-1]) / count

    fitting = [count for count in range(1, LANES // channels + 1) if sides[-1] % count == 0]
    best = min(fitting, key=vectors, default=1)
    rows = int(node.get_input_shape(0)[1]) * math.prod(kernel[:-1])
    return (*none, best) if (vectors(1) - vectors(best)) * rows >= WORTH * channels else ()


def _is_plain(node: Any) -> bool:
    """Whether it is a convolution of fixed sizes and constant weights, with padding that is written out."""
    if node.get_type_name() not in CONVOLUTIONS or node.get_input_size() != 2:
        return False
    attributes, shapes = node.get_attributes(), (node.get_input_partial_shape(0), node.get_output_partial_shape(0))
    return (
        all(shape.is_static for shape in shapes)
        and len(shapes[0]) in (4, 5)
        and node.input_value(1).get_node().get_type_name() == "Constant"
        and attributes["auto_pad"] == "explicit"
        and set(attributes["dilations"]) == {1}
    )


@dataclass(slots=True)
class _Widening:
    """Goes through a model from its input to its output.

    Attributes:
        wide: By name of the node: blocks, of those whose output is wide.
    """

    wide: dict[str, Blocks] = field(default_factory=dict)

    def run(self, model: Any) -> None:
        # Blocks are chosen before shapes change.
        for node, blocks in [(node, blocks_of(node)) for node in model.get_ordered_ops()]:
            replaced = node.get_type_name() in CONVOLUTIONS and not node.output(0).get_target_inputs()
            if not replaced and not self._is_split(node):
                self._visit(node, blocks)

    def _visit(self, node: Any, blocks: Blocks) -> None:
        if blocks:
            self._separate_inputs(node)
            made = weights_of.wide_convolution(node, blocks)
            _replace(node, made)
            self.wide[made.get_name()] = blocks
        elif not self._takes_wide(node):
            self._separate_inputs(node)

    def _blocks(self, value: Any) -> Blocks:
        return self.wide.get(value.get_node().get_name(), ())

    def _separated(self, value: Any) -> Any:
        """An output that is not wide: the given one, or one that is made of it."""
        blocks = self._blocks(value)
        if not blocks:
            return value
        keep_sum_apart(value, VOXEL_BY_VOXEL + OF_TWO)
        return separated(value, blocks)

    def _separate_inputs(self, node: Any) -> None:
        for place in node.inputs():
            if self._blocks(place.get_source_output()):
                place.replace_source_output(self._separated(place.get_source_output()))

    def _is_split(self, node: Any) -> bool:
        """Make convolutions of wide images side by side sums of convolutions; otherwise images would be copied."""
        if node.get_type_name() != "Concat" or not any(map(self._blocks, node.input_values())):
            return False
        users = [user.get_node() for user in node.output(0).get_target_inputs()]
        rank = len(node.get_output_partial_shape(0))
        if node.get_attributes()["axis"] not in (1, 1 - rank) or not all(map(_is_plain, users)):
            return False
        for user in users:
            blocks = blocks_of(user)
            made, sums = weights_of.summed_parts(user, [self._separated(value) for value in node.input_values()])
            _replace(user, sums[-1])
            for part in made:
                self._visit(part, blocks)
            for total in sums:
                self._visit(total, ())
        return True

    def _takes_wide(self, node: Any) -> bool:
        """Let a node take wide images, if some of its inputs are wide and it can."""
        values, kind = node.input_values(), node.get_type_name()
        blocks = next(filter(None, map(self._blocks, values)), ())
        if not blocks:
            return False
        if blocks[0] == 1 and kind == "AvgPool":
            return self._means(node, blocks)
        if blocks[0] == 1 and kind == "MaxPool":
            return self._maxima(node, blocks)
        if blocks[0] == 1 and kind == "Convolution" and _is_plain(node):
            return self._convolved(node, blocks)
        if kind not in VOXEL_BY_VOXEL + OF_TWO or (kind in VOXEL_BY_VOXEL and not self._blocks(values[0])):
            return False
        image = [int(side) for side in node.get_output_shape(0)]  # as if nothing were wide
        made = [self._beside(value, image, blocks, listed=kind in PER_CHANNEL) for value in values]
        if any(value is None for value in made):
            return False
        for place, value in zip(node.inputs(), made, strict=True):
            place.replace_source_output(value)
        self._is_wide(node, blocks)
        return True

    def _is_wide(self, node: Any, blocks: Blocks) -> None:
        node.validate_and_infer_types()
        self.wide[node.get_name()] = blocks

    def _convolved(self, node: Any, blocks: Blocks) -> bool:
        """A convolution whose stride is a multiple of the voxels in one, and whose result is not wide."""
        suits = node.get_attributes()["strides"][-1] % blocks[-1] == 0
        if suits:
            _replace(node, weights_of.strided_convolution(node, blocks[-1]))
        return bool(suits)

    def _means(self, node: Any, blocks: Blocks) -> bool:
        """A mean over axes before the last, or over the last axis, whose result is not wide."""
        about, values, count = node.get_attributes(), node.input_value(0), blocks[-1]
        kernel, sides = about["kernel"], [int(side) for side in values.get_shape()[2:]]
        if any((*about["pads_begin"], *about["pads_end"])) or set(about["strides"]) != {1}:
            return False
        if kernel[-1] == 1:
            self._is_wide(node, blocks)
            return True
        if kernel[-1] != sides[-1] * count:
            return False
        none = [0] * len(sides)
        window = [*kernel[:-1], sides[-1]]
        pooled = _operations().avg_pool(values, [1] * len(sides), none, none, window, True)
        _replace(node, weights_of.mean_of_voxels(pooled.output(0), count))
        return True

    def _maxima(self, node: Any, blocks: Blocks) -> bool:
        """Maxima over other axes first, which leaves less to be copied for those over the last one."""
        op, about, value = _operations(), node.get_attributes(), node.input_value(0)
        about.setdefault("dilations", [1] * len(blocks))
        if about["auto_pad"] != "explicit" or set(about["dilations"]) != {1}:
            return False
        names, usual = ("strides", "dilations", "pads_begin", "pads_end", "kernel"), (1, 1, 0, 0, 1)
        ones = len(blocks) - 1
        before = [[*about[name][:-1], at_rest] for name, at_rest in zip(names, usual, strict=True)]
        last = [[*[at_rest] * ones, about[name][-1]] for name, at_rest in zip(names, usual, strict=True)]
        fewer = op.max_pool(value, *before, about["rounding_type"]).output(0)
        _replace(node, op.max_pool(separated(fewer, blocks), *last, about["rounding_type"]))
        return True

    def _beside(self, value: Any, image: Sequence[int], blocks: Blocks, *, listed: bool) -> Any:
        """What stands for an operand beside a wide image; None if nothing can.

        Args:
            value: The operand, an output.
            image: Shape of the image if it were not wide.
            blocks: Voxels in one, of the image.
            listed: Whether an operand of one axis is a list of the channels.
        """
        if self._blocks(value) == blocks:
            return value
        value = self._separated(value)
        shape = [int(side) for side in value.get_shape()]
        if math.prod(shape) == 1:
            return value
        if shape == list(image):
            keep_sum_apart(value, VOXEL_BY_VOXEL + OF_TWO)
            return joined(value, blocks)
        axis = 1 if len(shape) == len(image) else 0  # of the channels
        if (axis == 0 and not (listed and len(shape) == 1)) or [math.prod(shape[axis:]), shape[axis]] != [
            image[1]
        ] * 2:
            return None
        if value.get_node().get_type_name() == "Constant":
            repeated = np.concatenate([value.get_node().data] * math.prod(blocks), axis)
            return _operations().constant(repeated).output(0)
        return _operations().concat([value] * math.prod(blocks), axis).output(0)


def _replace(node: Any, other: Any) -> None:
    for user in list(node.output(0).get_target_inputs()):
        user.replace_source_output(other.output(0))


def _operations() -> Any:
    return importlib.import_module("openvino.opset13")
