"""Write ONNX files: with metadata, without traces of the exporting machine, weights inside or in a second file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.errors import ModelError

LARGEST_FILE = 2_000_000_000  # bytes; a protobuf message is limited to 2 GiB
SMALL_TENSOR = 256  # values; smaller tensors, such as the scales of Resize, keep their precision
LARGEST_HALF = 65504.0


def write_onnx(
    source: Path, target: Path, metadata: Mapping[str, str], *, half: bool = False, largest: int = LARGEST_FILE
) -> list[Path]:
    """Write a copy of an ONNX file with other metadata and, if wanted, weights in half precision.

    Args:
        source: The exported file, whose weights may be in a file beside it.
        target: The file to write, in another folder.
        metadata: Entries to add; those of the same names are replaced.
        half: Store large weights in half precision. The network still computes in single precision.
        largest: If weights take more bytes, they are written to a second file, ``<target>.data``.

    Returns:
        The files that were written: the weights first, if they are separate.

    Raises:
        ModelError: the file is damaged, or onnx finds an error in it.
    """
    import onnx

    try:
        model = onnx.load(source)
    except Exception as error:  # protobuf has error classes of its own
        raise ModelError(f"{source}: onnx cannot read it ({type(error).__name__})") from error
    strip(model)
    if half:
        store_in_half(model.graph)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, **metadata})
    weights = target.with_name(f"{target.name}.data")
    apart = sum(_bytes(tensor) for tensor in model.graph.initializer) > largest
    if apart:
        onnx.save_model(model, target, save_as_external_data=True, location=weights.name)
    else:
        onnx.save_model(model, target)
    try:
        onnx.checker.check_model(target)
    except onnx.checker.ValidationError as error:
        line = str(error).strip().splitlines()[0]
        raise ModelError(f"{target.name}: the exported file is not valid ONNX ({line})") from error
    return [weights, target] if apart else [target]


def strip(model: Any) -> None:
    """Remove the stack traces that exporters store with a network; they contain names of folders and users."""
    for graph in _graphs(model.graph):
        for item in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
            del item.metadata_props[:]
            item.doc_string = ""
    for function in model.functions:
        for item in (function, *function.node, *function.value_info):
            del item.metadata_props[:]
            item.doc_string = ""
    model.doc_string = ""


def store_in_half(graph: Any) -> None:
    """Store the large weights of a graph in half precision, each followed by a Cast to single precision."""
    import onnx

    inputs = {value.name for value in graph.input}
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name in inputs:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.size < SMALL_TENSOR or np.abs(values).max() > LARGEST_HALF:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _graphs(graph: Any) -> list[Any]:
    """A graph and all graphs within its nodes."""
    inside = [
        found
        for node in graph.node
        for attribute in node.attribute
        for below in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else []))
        for found in _graphs(below)
    ]
    return [graph, *inside]


def _bytes(tensor: Any) -> int:
    import onnx

    size = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    return int(np.prod(tensor.dims, dtype=np.int64)) * size
