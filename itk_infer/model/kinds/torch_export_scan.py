"""The graph in a torch.export archive, read as data.

torch's own reader of these archives evaluates texts in them as Python and unpickles their sample inputs, which
cannot be switched off. So it is not used: the JSON graph is read here, and `itk_infer.model.kinds.torch_export`
runs its nodes. Those texts are not used; an archive in which one of them holds more than arithmetic was changed
after its export, and is refused.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.files.zip_archive import ZipArchive
from itk_infer.model.kinds.torch_location import MODEL_JSON
from itk_infer.model.kinds.torch_operators import ATEN

MAX_JSON_BYTES = 256 * 2**20
_TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
ARITHMETIC = ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge")
# Nodes that only check sizes at the time of export.
CHECKS = ("_assert_scalar", "sym_constrain_range_for_size", "sym_constrain_range", "_assert_tensor_metadata")
# torch writes conditions on sizes as text: `L['x'].size()[2] % 8 == 0`, `FloorDiv(Symbol('s0', integer=True), 2)`.
_WORD = re.compile(r"[^\W\d]\w*")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_ARITHMETIC_WORD = re.compile(
    r"[A-Z][A-Za-z]*|z?[suf]+\d+|abs|and|bool|ceil|else|finite|float|floor|if|int|integer|len|log|math|max|min"
    r"|negative|nonnegative|nonzero|not|or|positive|real|round|shape|size|sqrt|sum|trunc"
)
_REFUSED_ARGUMENTS = ("as_graph", "as_custom_obj", "as_operator")


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph.

    Attributes:
        operator: ``aten``, name and overload; or ``operator`` and the name in Python's module `operator`.
        inputs: For each argument its name, its value, and whether it is a keyword argument.
        outputs: Names of the results; several for a tuple, after ``*`` for a list.
    """

    operator: tuple[str, ...]
    inputs: tuple[tuple[str, Mapping[str, Any], bool], ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A weight or constant: its entry in the archive, and torch's JSON description of type and shape."""

    entry: str
    meta: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """A network as a list of operations.

    Attributes:
        nodes: Operations in order.
        image: Name of the image input.
        tensors: Stored tensors by the names of the other inputs.
        output: Name of the first result.
    """

    nodes: tuple[Node, ...]
    image: str
    tensors: Mapping[str, StoredTensor]
    output: str


def read_graph(path: Path) -> ExportedGraph:
    """Read the graph of an archive, and refuse operators that networks do not need.

    Raises:
        ModelError: it is damaged, of an unknown form, or uses an operator that is not in `ATEN`.
    """
    try:
        with ZipArchive(path) as archive:
            names = archive.namelist()
            if len({name.casefold() for name in names}) != len(names):
                raise ModelError(f"{path}: refused, because it holds an entry twice")
            (model,) = (name for name in names if MODEL_JSON.match(name))
            root = model.partition("/")[0]
            content = _json(archive, model, path)
            weights = _json(archive, f"{root}/data/weights/model_weights_config.json", path)
            constants = _json(archive, f"{root}/data/constants/model_constants_config.json", path)
        _refuse_code(content, path)
        return _graph(content["graph_module"], weights["config"], constants["config"], root, path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy or download it again") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path}: is not an archive of a known form ({error!r:.100}); export it again with torch 2.10 or "
            "newer, or to ONNX"
        ) from None


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    entry = archive.getinfo(name)
    if entry.file_size > MAX_JSON_BYTES:
        raise ModelError(f"{path}: refused, because its {name} has {entry.file_size} bytes")
    return json.loads(archive.read(entry))


def _refuse_code(content: Any, path: Path) -> None:
    """Refuse an archive in which a condition on sizes holds more than arithmetic."""
    for key, text in _conditions(content):
        words = _WORD.findall(_QUOTED.sub("", text))
        if unknown := next((word for word in words if not _ARITHMETIC_WORD.fullmatch(word)), ""):
            raise ModelError(
                f"{path}: refused, because a condition on sizes in it ({key}) uses {unknown[:60]}, which torch "
                "would run as code. Export the network again where it was made"
            )


def _conditions(content: Any) -> Iterator[tuple[str, str]]:
    left = [content]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            yield from (("guards_code", str(text)) for text in part.get("guards_code") or ())
            if "expr_str" in part:
                yield "expr_str", str(part["expr_str"])


def _graph(
    module: Mapping[str, Any], weights: Mapping[str, Any], constants: Mapping[str, Any], root: str, path: Path
) -> ExportedGraph:
    graph, signature = module["graph"], module["signature"]
    images: list[str] = []
    tensors: dict[str, StoredTensor] = {}
    for given in signature["input_specs"]:
        ((kind, about),) = given.items()
        if kind == "user_input":
            images.append(about["arg"]["as_tensor"]["name"])
            continue
        name = about["arg"]["name"]
        if kind == "parameter":
            folder, stored = "weights", weights[about["parameter_name"]]
        elif kind == "buffer":
            key = about["buffer_name"]
            folder, stored = ("weights", weights[key]) if key in weights else ("constants", constants[key])
        elif kind == "tensor_constant":
            folder, stored = "constants", constants[about["tensor_constant_name"]]
        else:
            raise ModelError(f"{path}: refused, because it has an input of the kind {kind[:60]}")
        if stored["use_pickle"]:
            raise ModelError(f"{path}: refused, because it holds {name[:60]} as a pickle, which can be code")
        tensors[name] = StoredTensor(f"{root}/data/{folder}/{stored['path_name']}", stored["tensor_meta"])
    if len(images) != 1:
        raise ModelError(f"{path}: its network takes {len(images)} inputs; networks of one image can be run")
    results = [spec["user_output"] for spec in signature["output_specs"] if "user_output" in spec]
    nodes = tuple(node for item in graph["nodes"] if (node := _node(item, path)) is not None)
    return ExportedGraph(nodes, images[0], tensors, results[0]["arg"]["as_tensor"]["name"])


def _node(item: Mapping[str, Any], path: Path) -> Node | None:
    """One node; None if it only checks sizes."""
    target = item["target"]
    match = _TARGET.fullmatch(target)
    name = target.removeprefix("_operator.")
    if match and match[1] in CHECKS:
        return None
    if match and match[1] in ATEN:
        operator: tuple[str, ...] = ("aten", match[1], match[2])
    elif target.startswith("_operator.") and name in ARITHMETIC:
        operator = ("operator", name)
    else:
        raise ModelError(
            f"{path}: refused, because its graph uses {target[:80]}, which is not among the operators that "
            "networks need; a harmful file may. Export the network to ONNX where it was made"
        )
    inputs = []
    for given in item["inputs"]:
        value = given["arg"]
        ((kind, _),) = value.items()
        if kind in _REFUSED_ARGUMENTS:
            raise ModelError(f"{path}: refused, because its graph gives {target[:80]} an argument {kind}")
        inputs.append((str(given["name"]), value, given.get("kind") == 2))
    return Node(operator, tuple(inputs), tuple(_names(item["outputs"])))


def _names(outputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for given in outputs:
        ((kind, value),) = given.items()
        if kind == "as_tensor":
            yield value["name"]
        elif kind in ("as_tensors", "as_sym_ints"):
            yield "*"
            yield from (each["name"] if "name" in each else each["as_name"] for each in value)
        elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            yield value["as_name"]
        elif kind == "as_none":
            yield ""
        else:
            raise ValueError(f"a result {kind}")
