"""What kind of answer an ONNX network gives, by the operations it begins and ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.errors import ModelError
from itk_infer.model.kinds.onnx_graph import Node, OnnxGraph
from itk_infer.model.runtimes.onnxruntime import FLOAT_TYPES
from itk_infer.model.spec_sources import Document
from itk_infer.spec import ModelSpec

# Operations that hand on what they get: class numbers stay class numbers, probabilities stay probabilities.
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
    """The operation that decides what a network's answer means, behind all that hand it on unchanged.

    Attributes:
        operation: Its name; empty where nothing certain is known.
    """

    operation: str = ""

    @property
    def class_numbers(self) -> bool:
        """Whether it answers the number of a class."""
        return self.operation in (*CLASS_NUMBERS, "TopK")

    @property
    def probabilities(self) -> bool:
        """Whether it answers numbers from 0 to 1."""
        return self.operation in (*ONE_OF_ALL, *EACH_ALONE, *YES_OR_NO)


def graph_end(graph: OnnxGraph, output: str) -> GraphEnd:
    """How the network comes to its output of this name."""
    end = _Tracer(graph).end(graph.nodes, output)
    return end if isinstance(end, GraphEnd) else GraphEnd()


def starts_with_channels_last(graph: OnnxGraph, name: str) -> bool:
    """Whether the first thing done to the input of this name is to move its last axis to the second place."""
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
    """Follows a tensor back to the operation that decides what it means."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._functions = graph.functions
        self._steps = 0

    def end(self, nodes: Sequence[Node], name: str) -> GraphEnd | str:
        """The end, or the name of the tensor from outside of `nodes` that is handed on unchanged."""
        makers = {output: node for node in nodes for output in node.outputs if output}
        while name in makers:
            self._steps += 1
            if self._steps > 1000:  # a graph has no circles; a damaged file may
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
            elif node.operation == "TopK" and index == 0:  # the values, not where they stand
                return GraphEnd()
            else:
                return GraphEnd(node.operation)
        return name

    def _agreed(self, nodes: Sequence[Node], names: Sequence[str]) -> GraphEnd:
        """What all parts of an answer have in common."""
        ends = {self.end(nodes, name) for name in names}
        found = ends.pop()
        return found if isinstance(found, GraphEnd) and not ends else GraphEnd()


def with_end(
    spec: ModelSpec, documents: Sequence[Document], end: GraphEnd, channels: int | None
) -> tuple[ModelSpec, list[str]]:
    """The spec, with ``output.values`` as the end of the graph proves it.

    Args:
        spec: Made from `documents`.
        documents: They show which keys were stated, and which have their defaults.
        end: How the network comes to its answer.
        channels: Output channels, if they are known.

    Returns:
        The spec, and what the user should know.
    """
    if not end.probabilities:
        return spec, []
    stated: Mapping[str, object] = {}
    for document in documents:
        stated = {**stated, **(document.content.get("output") or {})}
    output, notes = spec.output, list[str]()
    if output.values == "logits":
        output = replace(output, values="probabilities")
        taken = f"the network ends in {end.operation}: its answers are taken as probabilities"
        notes.append(f"{taken}, not as logits as the model spec says" if "values" in stated else taken)
    if end.operation in EACH_ALONE and output.decision == "argmax" and "decision" not in stated and channels != 1:
        notes.append(
            f"the network ends in {end.operation}, as networks do whose labels may overlap, and the model spec "
            "names no output.decision: the largest channel wins, and channel 0 is background; if every channel "
            "is a label of its own, set output.decision to threshold"
        )
    return replace(spec, output=output), notes


def check_end(path: Path, end: GraphEnd, kind: str, channels: int | None) -> None:
    """Refuse what is no answer about classes, however it is decided.

    Args:
        path: The model, for messages.
        end: How the network comes to its answer.
        kind: What the answer holds, as onnxruntime calls it.
        channels: Output channels, if they are known.

    Raises:
        ModelError: it answers class numbers, or the same everywhere.
    """
    whole = kind not in FLOAT_TYPES and kind != "tensor(bool)"
    if end.class_numbers or (whole and channels == 1 and not end.probabilities):
        found = f"ends in {end.operation}" if end.class_numbers else f"answers {kind} in one channel"
        raise ModelError(
            f"{path}: the network {found}: class numbers, which cannot be blended between windows or resampled; "
            "export it without that step, so that its first output has one channel of logits per class"
        )
    if end.operation in ONE_OF_ALL and channels == 1:
        raise ModelError(
            f"{path}: the network ends in {end.operation} over one channel, which is 1 in every voxel; export it "
            "without that step, and set output.decision to threshold in the model spec"
        )
