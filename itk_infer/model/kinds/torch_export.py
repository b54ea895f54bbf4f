"""Run the graph of a torch.export archive, one operation after the other."""

from __future__ import annotations

import math
import operator
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import ModelError
from itk_infer.files.zip_archive import ZipArchive
from itk_infer.model.kinds.torch_export_scan import ExportedGraph, Node, StoredTensor, read_graph

if TYPE_CHECKING:
    import torch
    from torch import nn

# Numbers in torch._export.serde.schema.ScalarType and MemoryFormat, and torch's names for them.
_TYPES = {
    **{1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"},
    **{12: "bool", 13: "bfloat16"},
}
_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}
_STRIDED = 7
_PLAIN = ("as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools", "as_strings")


def read_exported(path: Path) -> nn.Module:
    """Load the network in a torch.export archive, on the CPU.

    Raises:
        ModelError: its graph is refused, see `read_graph`, or its weights cannot be read.
    """
    from torch import nn

    graph = read_graph(path)

    class Exported(nn.Module):
        """A network that runs the graph with its stored weights."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterDict()
            self.names: dict[str, str] = {}
            with ZipArchive(path) as archive:
                for number, (name, stored) in enumerate(graph.tensors.items()):
                    self.names[name] = str(number)
                    self.weights[str(number)] = nn.Parameter(_tensor(archive, stored, path), requires_grad=False)

        def forward(self, image: torch.Tensor) -> Any:
            values: dict[str, Any] = {name: self.weights[key] for name, key in self.names.items()}
            values[graph.image] = image
            return _run(graph, values, image.device)

    return Exported().eval()


def _run(graph: ExportedGraph, values: dict[str, Any], device: torch.device) -> Any:
    last = {name: number for number, node in enumerate(graph.nodes) for name in _used(node)}
    for number, node in enumerate(graph.nodes):
        _store(node, _call(node, values, device), values)
        for name in _used(node):
            if last[name] == number and name != graph.output:
                values.pop(name, None)  # frees the memory of values that no later operation reads
    return values[graph.output]


def _used(node: Node) -> set[str]:
    found: set[str] = set()
    for _, value, _ in node.inputs:
        ((_, content),) = value.items()
        for item in content if isinstance(content, list) else [content]:
            if isinstance(item, Mapping):
                inner = item.get("as_tensor", item)
                name = inner.get("name") or inner.get("as_name") if isinstance(inner, Mapping) else None
                if isinstance(name, str):
                    found.add(name)
    return found


def _call(node: Node, values: Mapping[str, Any], device: torch.device) -> Any:
    import torch

    arguments = [(name, _value(given, values, device), by_name) for name, given, by_name in node.inputs]
    positional = [value for _, value, by_name in arguments if not by_name]
    named = {name: value for name, value, by_name in arguments if by_name}
    if node.operator[0] == "operator":
        return getattr(operator, node.operator[1])(*positional)
    _, name, overload = node.operator
    return getattr(getattr(torch.ops.aten, name), overload)(*positional, **named)


def _store(node: Node, result: Any, values: dict[str, Any]) -> None:
    if node.outputs[:1] == ("*",):
        values.update(zip(node.outputs[1:], result, strict=True))
    elif len(node.outputs) == 1:
        values[node.outputs[0]] = result
    else:
        values.update(zip(node.outputs, result, strict=True))


def _value(given: Mapping[str, Any], values: Mapping[str, Any], device: torch.device) -> Any:
    import torch

    ((kind, content),) = given.items()
    if kind in _PLAIN:
        return content
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return values[content["name"]]
        case "as_tensors":
            return [values[each["name"]] for each in content]
        case "as_optional_tensor":
            return _value(content, values, device)
        case "as_optional_tensors":
            return [_value(each, values, device) for each in content]
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return _number(content, values)
        case "as_sym_ints" | "as_sym_floats":
            return [_number(each, values) for each in content]
        case "as_scalar_type":
            return getattr(torch, _TYPES[content])
        case "as_memory_format":
            return getattr(torch, _FORMATS[content])
        case "as_layout" if content == _STRIDED:
            return torch.strided
        case "as_device":
            return device  # that of the image, not the one at export
    raise ModelError(f"its graph has an argument {kind[:60]}, which is not understood; export it to ONNX")


def _number(given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    ((kind, content),) = given.items()
    return values[content] if kind == "as_name" else content


def _tensor(archive: zipfile.ZipFile, stored: StoredTensor, path: Path) -> torch.Tensor:
    """Read a stored tensor: raw values of its type, contiguous or with strides."""
    import torch

    meta = stored.meta
    try:
        kind = getattr(torch, _TYPES[meta["dtype"]])
        sizes, strides = ([int(each["as_int"]) for each in meta[key]] for key in ("sizes", "strides"))
        data = archive.read(stored.entry)
        needed = 1 + sum((size - 1) * step for size, step in zip(sizes, strides, strict=True))
        if math.prod(sizes) == 0 or needed * kind.itemsize > len(data) or int(meta["storage_offset"]["as_int"]):
            raise ValueError("its size is not that of its values")
        flat = torch.frombuffer(bytearray(data), dtype=kind)
        return flat.as_strided(sizes, strides).clone()
    except (LookupError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: {stored.entry} cannot be read ({error}); export it again") from None
