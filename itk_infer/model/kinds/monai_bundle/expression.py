"""Evaluate ``$`` expressions from their syntax tree: constants, references and a few operations.

MONAI passes expressions to Python's `eval`. Here only `len`, `int`, `float`, `list`, `tuple` and `range` are
called, on plain values.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 2000
MAX_LENGTH = 10_000  # most characters of a text, and most entries of a value, those of lists in it included
MAX_NUMBER = 2**63
REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")
_STAND_IN = re.compile(r"__ref_(\d+)__")
_MODULES = ("torch", "numpy", "np")
_TYPES = {
    *("bool", "uint8", "uint16", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *("int", "float", "half", "double", "long"),
}
_KEYS = {"IMAGE": "image", "LABEL": "label", "PRED": "pred"}  # values of monai.utils.CommonKeys
# Members of MONAI's enums that inferers take, by class; each is the text in lower case.
_ENUMS = {
    "BlendMode": ("CONSTANT", "GAUSSIAN"),
    "PytorchPadMode": ("CONSTANT", "REFLECT", "REPLICATE", "CIRCULAR"),
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_CALLS: dict[str, Callable[..., Any]] = {
    **{"len": len, "int": int, "float": float, "list": list, "tuple": tuple},
    "range": lambda *numbers: list(_bounded_range(*numbers)),
}


class Refused(Exception):
    """An expression that is not evaluated; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Function:
    """A lambda, which is never called, only compared with known ones."""

    tree: ast.Lambda

    def __str__(self) -> str:
        return ast.unparse(self.tree)


def evaluate(text: str, resolve: Callable[[str], Any]) -> Any:
    """Evaluate an expression.

    Args:
        text: The expression without the ``$``.
        resolve: Returns the value of a reference by its name, without the ``@``.

    Raises:
        Refused: the expression has anything else than the operations above, or its value is too large.
    """
    if len(text) > MAX_TEXT:
        raise Refused(f"it has more than {MAX_TEXT} characters")
    names: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        names.append(match[1])
        return f"__ref_{len(names) - 1}__"

    try:
        tree = ast.parse(REFERENCE.sub(stand_in, text).strip(), mode="eval").body
        return _Evaluator(names, resolve).value(tree)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise Refused("it is no valid expression") from None
    except (TypeError, ZeroDivisionError, LookupError, OverflowError) as error:
        raise Refused(f"it has no value ({error})") from None


class _Evaluator:
    def __init__(self, names: list[str], resolve: Callable[[str], Any]) -> None:
        self._names = names
        self._resolve = resolve

    def value(self, node: ast.expr) -> Any:
        """The value of a node, within the limits."""
        return _bounded(self._value(node))

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str() as constant):
                if isinstance(constant, str) and _STAND_IN.search(constant):
                    raise Refused("it has a reference inside a text")
                return constant
            case ast.Name(id=name) if match := _STAND_IN.fullmatch(name):
                return self._resolve(self._names[int(match[1])])
            case ast.List(elts=items):
                return [self.value(item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.Dict(keys=keys, values=values) if all(key is not None for key in keys):
                return {self.value(key): self.value(item) for key, item in zip(keys, values, strict=True) if key}
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self.value(inner)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not self.value(inner)
            case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
                return self._binary(operation, self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _COMPARE:
                return _COMPARE[type(operation)](self.value(left), self.value(right))
            case ast.BoolOp(op=operation, values=values):
                return self._either(isinstance(operation, ast.Or), values)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.value(body if self.value(test) else other)
            case ast.Subscript(value=container, slice=index):
                return self.value(container)[self.value(index)]
            case ast.Call(func=ast.Name(id=name), args=values, keywords=[]) if name in _CALLS:
                return _CALLS[name](*(self.value(item) for item in values))
            case ast.Attribute():
                return _named_value(ast.unparse(node))
            case ast.Lambda():
                return Function(node)
        raise Refused(f"{_short(ast.unparse(node))} is not evaluated")

    def _binary(self, operation: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(operation, ast.Mult):
            sizes = [len(side) for side in (left, right) if isinstance(side, str | list | tuple)]
            counts = [side for side in (left, right) if isinstance(side, int)]
            if sizes and counts and sizes[0] * counts[0] > MAX_LENGTH:
                raise Refused(f"it has more than {MAX_LENGTH} entries")
        return _BINARY[type(operation)](left, right)

    def _either(self, is_or: bool, nodes: list[ast.expr]) -> Any:
        value = None
        for node in nodes:
            value = self.value(node)
            if bool(value) == is_or:
                break
        return value


def _named_value(dotted: str) -> str:
    """``torch.float32`` and the like as ``float32``; keys and names in enums of MONAI as their text."""
    *path, last = dotted.split(".")
    if len(path) == 1 and path[0] in _MODULES and last in _TYPES:
        return last
    if path[-1:] == ["CommonKeys"] and path[0] in ("CommonKeys", "monai") and last in _KEYS:
        return _KEYS[last]
    if path and path[0] in (path[-1], "monai") and last in _ENUMS.get(path[-1], ()):
        return last.lower()
    raise Refused(f"{_short(dotted)} is not evaluated")


def size_of(value: Any, most: int) -> int:
    """Characters of a text, or entries of a list or mapping and of all in it; counts to little more than `most`.

    One list can stand in another thousands of times, so that a short expression has a value whose text, or whose
    comparison with another, would never end.
    """
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, list | tuple | dict):
        return 0
    size = 0
    waiting: list[Any] = [value]
    while waiting and size <= most:
        one = waiting.pop()
        size += len(one)
        inner = (*one, *one.values()) if isinstance(one, dict) else one
        waiting.extend(item for item in inner if isinstance(item, list | tuple | dict))
    return size


def _bounded(value: Any) -> Any:
    if size_of(value, MAX_LENGTH) > MAX_LENGTH:
        raise Refused(f"it has more than {MAX_LENGTH} entries")
    if isinstance(value, int) and not -MAX_NUMBER < value < MAX_NUMBER:
        raise Refused("its number is too large")
    return value


def _bounded_range(*numbers: int) -> range:
    values = range(*numbers)
    if len(values) > MAX_LENGTH:
        raise Refused(f"it has more than {MAX_LENGTH} entries")
    return values


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
