"""The structure of an ONNX file: its ends, its operations and the places of its weights, but not the weights.

Read from the file's protobuf encoding (https://protobuf.dev/programming-guides/encoding, field numbers
from onnx.proto), so that neither the onnx package nor memory for the weights is needed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
EXTERNAL = 1  # TensorProto.DataLocation
TYPES = {1: "tensor(float)", 10: "tensor(float16)", 11: "tensor(double)"}  # TensorProto.DataType
Span = tuple[int, int]  # first byte of a message, and the one after its last


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. ``perm`` is the order of axes of a Transpose; empty for other operations."""

    operation: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    perm: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function that the model defines: nodes that are called by the function's name."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, order=True)
class ExternalData:
    """Weights in another file.

    Attributes:
        location: The file, relative to the model's folder.
        end: Bytes that the file must have; 0 if not stated.
    """

    location: str
    end: int = 0


@dataclass(frozen=True, slots=True)
class GraphValue:
    """An input or output, as the file declares it; the attributes are those of onnxruntime's `NodeArg`.

    Attributes:
        name: Its name.
        type: Type of its numbers, one of `TYPES`; empty: another one, or not stated.
        shape: Sizes of its axes: numbers, names of free ones, or None; empty if not stated.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """The structure of a network in a file.

    Attributes:
        nodes: The operations of the main graph.
        inputs: Inputs of the main graph, without those that have a value in the file.
        outputs: Outputs of the main graph.
        metadata: The texts that the file was given.
        functions: Functions that the model defines, by domain and name.
        external: Weights in other files, sorted, subgraphs and functions included.
    """

    nodes: tuple[Node, ...] = ()
    inputs: tuple[GraphValue, ...] = ()
    outputs: tuple[GraphValue, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[tuple[str, str], Function] = field(default_factory=dict)
    external: tuple[ExternalData, ...] = ()


def read_graph(path: Path) -> OnnxGraph:
    """Read the structure of a file; the graph is empty if it is not an ONNX file, which the runtime refuses later.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Reader(content).model((0, len(content)))
        except (ValueError, IndexError, RecursionError):
            return OnnxGraph()


class _Reader:
    """Reads messages of one file, and collects references to external data."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._external: set[ExternalData] = set()

    def model(self, span: Span) -> OnnxGraph:
        nodes: list[Node] = []
        inputs, outputs = list[GraphValue](), list[GraphValue]()
        metadata, functions = {}, {}
        for number, value in self._fields(span):
            if number == 7:  # graph
                nodes += self._graph(_span(value))
                inputs, outputs = self._ends(_span(value))
            elif number == 14:  # metadata_props
                key, text = self._pair(_span(value))
                metadata[key] = text
            elif number == 25:  # functions
                name, function = self._function(_span(value))
                functions[name] = function
        ends = tuple(inputs), tuple(outputs)
        return OnnxGraph(tuple(nodes), *ends, metadata, functions, tuple(sorted(self._external)))

    def _ends(self, span: Span) -> tuple[list[GraphValue], list[GraphValue]]:
        """Inputs and outputs of a graph; older files list weights among the inputs, too."""
        ends: dict[int, list[GraphValue]] = {11: [], 12: []}  # input, output
        weights = set()
        for number, value in self._fields(span):
            if number in ends:
                ends[number].append(self._end(_span(value)))
            elif number == 5:  # initializer
                weights.add(self._first_text(_span(value), 8))
            elif number == 15:  # sparse_initializer, named by its values
                weights |= {
                    self._first_text(_span(tensor), 8) for key, tensor in self._fields(_span(value)) if key == 1
                }
        return [end for end in ends[11] if end.name not in weights], ends[12]

    def _end(self, span: Span) -> GraphValue:
        """A ValueInfoProto, of which only the type of tensors is read."""
        kind, shape = 0, list[int | str | None]()
        for tensor in self._messages(span, 2, 1):  # type, tensor_type
            for number, value in self._fields(tensor):
                if number == 1 and isinstance(value, int):  # elem_type
                    kind = value
                elif number == 2:  # shape
                    shape = [self._axis(axis) for axis in self._messages(_span(value), 1)]
        return GraphValue(self._first_text(span, 1), TYPES.get(kind, ""), tuple(shape))

    def _axis(self, span: Span) -> int | str | None:
        for number, value in self._fields(span):
            if number == 1 and isinstance(value, int):  # dim_value; negative numbers are above 2 ** 63
                return value if value < 1 << 63 else None
            if number == 2:  # dim_param
                return self._text(_span(value))
        return None

    def _messages(self, span: Span, *path: int) -> list[Span]:
        """The messages in the fields of a path of field numbers."""
        spans = [span]
        for wanted in path:
            spans = [_span(value) for one in spans for number, value in self._fields(one) if number == wanted]
        return spans

    def _first_text(self, span: Span, wanted: int) -> str:
        return next((self._text(_span(value)) for number, value in self._fields(span) if number == wanted), "")

    def _pair(self, span: Span) -> tuple[str, str]:
        """A StringStringEntryProto."""
        pair = {number: self._text(_span(text)) for number, text in self._fields(span)}
        return pair.get(1, ""), pair.get(2, "")

    def _graph(self, span: Span) -> list[Node]:
        nodes = []
        for number, value in self._fields(span):
            if number == 1:
                nodes.append(self._node(_span(value)))
            elif number == 5:  # initializer
                self._tensor(_span(value))
            elif number == 15:  # sparse_initializer
                self._sparse(_span(value))
        return nodes

    def _function(self, span: Span) -> tuple[tuple[str, str], Function]:
        texts: dict[int, list[str]] = {1: [""], 4: [], 5: [], 10: [""]}  # name, inputs, outputs, domain
        nodes = []
        for number, value in self._fields(span):
            if number in texts:
                texts[number].append(self._text(_span(value)))
            elif number == 7:
                nodes.append(self._node(_span(value)))
        name = texts[10][-1], texts[1][-1]
        return name, Function(tuple(texts[4]), tuple(texts[5]), tuple(nodes))

    def _node(self, span: Span) -> Node:
        texts: dict[int, list[str]] = {1: [], 2: [], 4: [""], 7: [""]}  # inputs, outputs, operation, domain
        perm: tuple[int, ...] = ()
        for number, value in self._fields(span):
            if number in texts:
                texts[number].append(self._text(_span(value)))
            elif number == 5:  # attribute
                name, numbers = self._attribute(_span(value))
                perm = numbers if name == "perm" else perm
        domain = texts[7][-1]
        return Node(texts[4][-1], "" if domain == "ai.onnx" else domain, tuple(texts[1]), tuple(texts[2]), perm)

    def _attribute(self, span: Span) -> tuple[str, tuple[int, ...]]:
        name, numbers = "", list[int]()
        for number, value in self._fields(span):
            if number == 1:
                name = self._text(_span(value))
            elif number in (5, 10):  # t, tensors
                self._tensor(_span(value))
            elif number in (6, 11):  # g, graphs
                self._graph(_span(value))
            elif number in (22, 23):  # sparse_tensor, sparse_tensors
                self._sparse(_span(value))
            elif number == 8:  # ints, packed or not
                numbers += [value] if isinstance(value, int) else self._packed(value)
        return name, tuple(numbers)

    def _sparse(self, span: Span) -> None:
        for number, value in self._fields(span):
            if number in (1, 2):  # values, indices
                self._tensor(_span(value))

    def _tensor(self, span: Span) -> None:
        entries: dict[str, str] = {}
        location = 0
        for number, value in self._fields(span):
            if number == 13:  # external_data
                key, text = self._pair(_span(value))
                entries[key] = text
            elif number == 14 and isinstance(value, int):  # data_location
                location = value
        if location == EXTERNAL and "location" in entries:
            length = int(entries.get("length") or 0)
            end = int(entries.get("offset") or 0) + length if length else 0
            self._external.add(ExternalData(entries["location"], end))

    def _text(self, span: Span) -> str:
        return self._content[span[0] : span[1]].decode()

    def _packed(self, span: Span) -> Sequence[int]:
        numbers, position = [], span[0]
        while position < span[1]:
            number, position = self._varint(position)
            numbers.append(number)
        return numbers

    def _fields(self, span: Span) -> Iterator[tuple[int, int | Span]]:
        """Yield the fields of a message: their numbers, and a number or the span of a length-delimited value."""
        position, end = span
        while position < end:
            key, position = self._varint(position)
            kind = key & 7
            if key < 8:
                raise ValueError("no field has number 0")
            if kind == VARINT:
                value, position = self._varint(position)
                yield key >> 3, value
            elif kind == LENGTH:
                length, position = self._varint(position)
                if position + length > end:
                    raise ValueError("a field ends behind its message")
                yield key >> 3, (position, position + length)
                position += length
            elif kind in (EIGHT_BYTES, FOUR_BYTES):
                position += 8 if kind == EIGHT_BYTES else 4
            else:
                raise ValueError(f"no wire type has number {kind}")

    def _varint(self, position: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                raise ValueError("a number is longer than any may be")


def _span(value: int | Span) -> Span:
    if isinstance(value, int):
        raise ValueError("a number stands where a message is expected")
    return value
