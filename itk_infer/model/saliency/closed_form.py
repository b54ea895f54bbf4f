"""Grad-CAM of ONNX networks that end in pooling and a linear layer: exact, in one forward pass, without gradients.

If the logits are z = W mean(A) + b for a feature map A with N positions, dz_k/dA is W_k / N at each position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ModelError
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.kinds.onnx_graph import Node, read_graph
from itk_infer.model.runtimes.onnxruntime import FLOAT_TYPES, first_line, import_runtime, open_session
from itk_infer.model.saliency.explainer import Explanation, maps_of

ACTIVATIONS: Final = ("Sigmoid", "Softmax", "HardSigmoid", "LogSoftmax")
SAME_VALUES: Final = ("Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
POOLING: Final = ("GlobalAveragePool", "ReduceMean", "AveragePool")
MAX_RELATIVE_ERROR: Final = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2}


@dataclass(frozen=True, slots=True)
class Tail:
    """The last layers of a network, by the names of their tensors.

    Attributes:
        map: The feature map that is pooled.
        before_relu: Input of the ReLU whose output is `map`; empty if there is none.
        weight: Weight of the linear layer; empty if there is none.
        bias: Bias of the linear layer; empty if there is none.
        logits: The output before an activation.
    """

    map: str
    before_relu: str
    weight: str
    bias: str
    logits: str


class ClosedForm:
    """Explains an ONNX network by the weights of its last layer; see `Explainer`.

    The map and the weights are read as additional outputs of the network, so weights may be stored in any form.
    Every batch is checked: W mean(A) + b must equal the network's own logits.

    Args:
        path: The ONNX file; its input is (N, C, H, W).
        layer: Name of the tensor to use: the pooled map, or the input of its ReLU. None: the pooled map.
        threads: Threads on the CPU.

    Raises:
        ModelError: the network has other last layers, or `layer` is neither of the two tensors.
    """

    how: str = "closed form"
    methods: tuple[str, ...] = ("gradcam", "gradcampp")

    def __init__(self, path: Path, *, layer: str | None = None, threads: int = 1) -> None:
        nodes = read_graph(path).nodes
        runtime = import_runtime()
        plain = open_session(runtime, path, ["CPUExecutionProvider"], threads, optimise=False)
        tail = find_tail(nodes, plain.get_outputs()[0].name)
        if tail is None:
            raise ModelError(
                f"{path}: the network does not end in average pooling and one linear layer, so Grad-CAM has no "
                "closed form"
            )
        if layer not in (None, tail.map, tail.before_relu or None):
            names = " and ".join(filter(None, (tail.map, tail.before_relu)))
            raise ModelError(f"{path}: `saliency_layer={layer}`: the closed form is known for {names}")
        self.layer = layer or tail.map
        self._path, self._tail = path, tail
        self._names = [name for name in (tail.logits, tail.map, tail.weight, tail.bias) if name]
        self._input = plain.get_inputs()[0].name
        self._dtype = np.dtype(FLOAT_TYPES[plain.get_inputs()[0].type])
        known = {output.name for output in plain.get_outputs()}
        more = [name for name in dict.fromkeys([*self._names, self.layer]) if name not in known]
        content = with_outputs(path.read_bytes(), more)
        self._session = open_session(runtime, content, ["CPUExecutionProvider"], threads, folder=path.parent)

    def explain(
        self, inputs: NDArray[np.float32], targets: NDArray[np.intp], methods: Sequence[str]
    ) -> Explanation:
        """See `Explainer.explain`."""
        try:
            found = self._session.run(
                [*self._names, self.layer], {self._input: np.ascontiguousarray(inputs, self._dtype)}
            )
        except Exception as error:  # onnxruntime has one exception class per status, and no common base
            raise network_error(error, f"the network failed on {inputs.shape}: {first_line(error)}") from error
        *found, layer = (np.asarray(array, np.float64) for array in found)
        by_name: dict[str, Any] = dict(zip(self._names, found, strict=True))
        features, logits = by_name[self._tail.map], by_name[self._tail.logits].reshape(len(inputs), -1)
        if features.ndim != 4:
            raise ModelError(f"{self._path}: {self._tail.map} is {features.shape}, without rows and columns")
        weight = self._weight(features, logits, by_name)
        gradient = (weight[:, targets].T / features[0, 0].size)[:, :, None, None]
        if self.layer == self._tail.before_relu:
            gradient = gradient * (layer > 0)
        return Explanation(maps_of(methods, layer, gradient, None), logits)

    def _weight(self, features: Any, logits: Any, by_name: dict[str, Any]) -> Any:
        """The weight (C, K) for which W mean(A) + b equals the logits; raises `ModelError` if there is none."""
        pooled = features.mean(axis=(2, 3))
        weight = by_name.get(self._tail.weight, np.eye(pooled.shape[1]))
        weight = weight.reshape(weight.shape[0], -1)
        bias = by_name.get(self._tail.bias, np.zeros(1)).reshape(-1)
        limit = MAX_RELATIVE_ERROR[self._dtype.name] * max(1.0, float(np.abs(logits).max()))
        for candidate in (weight, weight.T):
            if candidate.shape == (pooled.shape[1], logits.shape[1]) and np.all(
                np.abs(pooled @ candidate + bias - logits) <= limit
            ):
                return candidate
        raise ModelError(
            f"{self._path}: its logits are not the mean of {self._tail.map} times the weights of its last layer, "
            "so Grad-CAM has no closed form"
        )


def find_tail(nodes: Sequence[Node], output: str) -> Tail | None:
    """The last layers: average pooling, then at most one linear layer and an activation; None if others."""
    makers = {name: node for node in nodes for name in node.outputs if name}

    def back(name: str, operations: Sequence[str]) -> str:
        while name in makers and makers[name].operation in operations:
            name = makers[name].inputs[0]
        return name

    logits = back(output, SAME_VALUES + ACTIVATIONS)
    name, weight, bias = logits, "", ""
    linear = makers.get(name)
    if linear is not None and linear.operation == "Add":
        sides = [makers.get(side) for side in linear.inputs]
        index = next((i for i, side in enumerate(sides) if side and side.operation == "MatMul"), None)
        if index is not None:
            bias, linear = linear.inputs[1 - index], sides[index]
    if linear is not None and linear.operation in ("Gemm", "MatMul", "Conv"):
        name, weight = linear.inputs[:2]
        bias = linear.inputs[2] if len(linear.inputs) > 2 else bias
    pooled = back(name, SAME_VALUES)
    feature_map = back(pooled, POOLING)
    if feature_map == pooled or feature_map not in makers:
        return None
    maker = makers[feature_map]
    return Tail(feature_map, maker.inputs[0] if maker.operation == "Relu" else "", weight, bias, logits)


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """Add tensors of the main graph to the outputs of an ONNX file's content.

    Concatenated protobuf messages are merged, and their repeated fields joined: ModelProto.graph (7),
    GraphProto.output (12), ValueInfoProto.name (1).
    """
    return model + _field(7, b"".join(_field(12, _field(1, name.encode())) for name in names))


def _field(number: int, content: bytes) -> bytes:
    length, head = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*head, length]) + content
