"""What the outputs of an ONNX network are, from the operations at the beginning and end of its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.errors import ModelError
from itk_infer.model.kinds.onnx_graph import Node, OnnxGraph
from itk_infer.model.runtimes.onnxruntime import FLOAT_TYPES
from itk_infer.model.spec_sources import Document
from itk_infer.spec import ModelSpec

# Operations that keep the meaning of values: class numbers stay class numbers, probabilities stay probabilities.
HANDED_ON = (
    *("Identity", "Cast", "CastLike", "Dropout", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
    *("Slice", "Split", "Gather", "Clip", "Round", "Resize", "Upsample", "QuantizeLinear", "DequantizeLinear"),
)
CLASS_NUMBERS = ("ArgMax", "ArgMin")
ONE_OF_ALL = ("Softmax", "Hardmax", "QLinearSoftmax")  # per voxel, the channels sum to 1
EACH_ALONE = ("Sigmoid", "HardSigmoid", "QLinearSigmoid")
YES_OR_NO = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "Xor")


@dataclass(frozen=True, slots=True)
class GraphEnd:
    """The last operation that determines the meaning of a network's output; later ones keep it.

    Attributes:
        operation: Its name; empty if it is not known for certain.
    """

    operation: str = ""

    @property
    def class_numbers(self) -> bool:
        """Whether the outputs are class numbers."""
        return self.operation in (*CLASS_NUMBERS, "TopK")

    @property
    def probabilities(self) -> bool:
        """Whether the outputs are numbers from 0 to 1."""
        return self.operation in (*ONE_OF_ALL, *EACH_ALONE, *YES_OR_NO)


def graph_end(graph: OnnxGraph, output: str) -> GraphEnd:
    """Find the operation that determines the meaning of an output, by the output's name."""
    end = _Tracer(graph).end(graph.nodes, output)
    return end if isinstance(end, GraphEnd) else GraphEnd()


def starts_with_channels_last(graph: OnnxGraph, name: str) -> bool:
    """Whether the first operation on an input moves its last axis to the second place."""
    while True:
        readers = [node for node in graph.nodes if name in node.inputs]
        if len(readers) != 1:
            return False
        if readers[0].operation == "Transpose":
            perm = readers[0].perm
            return len(perm) > 2 and perm == (0, len(perm) - 1, *range(1, len(perm) - 1))
        if readers[0].operation not in ("Identity", "Cast"):
            return False
        name = readers[0].outputs[0]


class _Tracer:
    """Follows a tensor back to the operation that determines its meaning."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._functions = graph.functions
        self._steps = 0

    def end(self, nodes: Sequence[Node], name: str) -> GraphEnd | str:
        """The end, or the name of the tensor from outside of `nodes` whose meaning is kept."""
        makers = {output: node for node in nodes for output in node.outputs if output}
        while name in makers:
            self._steps += 1
            if self._steps > 1000:  # a limit, because graphs of damaged files may have cycles
                return GraphEnd()
            node = makers[name]
            index = node.outputs.index(name)
            function = self._functions.get((node.domain, node.operation))
            if function is not None:
                inner = self.end(function.nodes, function.outputs[index])
                if isinstance(inner, GraphEnd):
                    return inner
                if inner not in function.inputs:
                    return GraphEnd()
                name = node.inputs[function.inputs.index(inner)]
            elif node.operation in HANDED_ON:
                name = node.inputs[0]
            elif node.operation == "Concat":
                return self._agreed(nodes, node.inputs)
            elif node.operation == "TopK" and index == 0:  # the values, not their indices
                return GraphEnd()
            else:
                return GraphEnd(node.operation)
        return name

    def _agreed(self, nodes: Sequence[Node], names: Sequence[str]) -> GraphEnd:
        """The common end of all parts of a concatenated output; unknown if they differ."""
        ends = {self.end(nodes, name) for name in names}
        found = ends.pop()
        return found if isinstance(found, GraphEnd) and not ends else GraphEnd()


def with_end(
    spec: ModelSpec, documents: Sequence[Document], end: GraphEnd, channels: int | None
) -> tuple[ModelSpec, list[str]]:
    """Set ``output.values`` of a spec to what the end of the graph proves.

    Args:
        spec: Made from `documents`.
        documents: The sources of the spec: keys that they lack have default values.
        end: The end of the graph.
        channels: Output channels, if they are known.

    Returns:
        The spec, and notes for the user.
    """
    if not end.probabilities:
        return spec, []
    stated: Mapping[str, object] = {}
    for document in documents:
        stated = {**stated, **(document.content.get("output") or {})}
    output, notes = spec.output, list[str]()
    if output.values == "logits":
        output = replace(output, values="probabilities")
        taken = f"the network ends in {end.operation}: its outputs are taken as probabilities"
        notes.append(f"{taken}, not as logits as the model spec says" if "values" in stated else taken)
    if end.operation in EACH_ALONE and output.decision == "argmax" and "decision" not in stated and channels != 1:
        notes.append(
            f"the network ends in {end.operation}, as networks do whose labels may overlap, and the model spec "
            "has no output.decision: the largest channel is taken, and channel 0 is background; if every channel "
            "is a label of its own, set output.decision to threshold"
        )
    return replace(spec, output=output), notes


def check_end(path: Path, end: GraphEnd, kind: str, channels: int | None) -> None:
    """Refuse networks whose outputs cannot be used, whatever the decision rule.

    Args:
        path: The model, for messages.
        end: The end of the graph.
        kind: The output's type, as onnxruntime calls it.
        channels: Output channels, if they are known.

    Raises:
        ModelError: the outputs are class numbers, or the same in every voxel.
    """
    whole = kind not in FLOAT_TYPES and kind != "tensor(bool)"
    if end.class_numbers or (whole and channels == 1 and not end.probabilities):
        found = f"ends in {end.operation}" if end.class_numbers else f"has one output channel of {kind}"
        raise ModelError(
            f"{path}: the network {found}: class numbers, which cannot be blended between windows or resampled; "
            "export it without that step, so that its first output has one channel of logits per class"
        )
    if end.operation in ONE_OF_ALL and channels == 1:
        raise ModelError(
            f"{path}: the network ends in {end.operation} over one channel, which is 1 in every voxel; export it "
            "without that step, and set output.decision to threshold in the model spec"
        )
