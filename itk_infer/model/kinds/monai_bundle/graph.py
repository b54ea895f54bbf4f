"""The config of a bundle as a graph: references are followed, components stay descriptions and are never built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.expression import REFERENCE, Refused, evaluate, size_of

MAX_STEPS = 100_000  # values resolved, as a limit for nested references
MAX_DEPTH = 100  # levels of values within values, through references
_ABOUT = ("_target_", "_requires_", "_disabled_", "_desc_", "_mode_")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Component:
    """An object that MONAI would build: its class, and its arguments, which are resolved on access.

    Attributes:
        target: ``_target_`` as written: a class of MONAI, or a dotted name.
        place: Its place in the config, for messages.
        graph: The config, which resolves the arguments.
        raw: The arguments as written.
    """

    target: str
    place: str
    graph: ConfigGraph
    raw: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The class name, without the module if that is MONAI's."""
        path, _, last = self.target.rpartition(".")
        return last if not path or path.startswith("monai.") else self.target

    def argument(self, key: str, default: Any = None) -> Any:
        """An argument, resolved; `default` if it is not given."""
        if key not in self.raw:
            return default
        return self.graph.resolved(self.raw[key], f"{self.place}#{key}")

    def refused(self, why: str) -> ModelError:
        """Make the error that this component is not supported; `why` is the end of its sentence."""
        return ModelError(f"{self.graph.source}, {self.place}: {self.name[:80]} {why}")

    def only(self, *known: str) -> None:
        """Refuse other arguments than these.

        Raises:
            ModelError: there is another.
        """
        for key in self.raw:
            if key not in known:
                raise self.refused(f"has the argument {key[:60]}, which is not understood")


class ConfigGraph:
    """A config whose references are followed.

    Args:
        content: The config as read.
        source: Name of its file, for messages.
        fixed: Values that replace those of the config.
    """

    def __init__(self, content: Mapping[str, Any], source: str, fixed: Mapping[str, Any] | None = None) -> None:
        self.source = source
        self._content = {**content, **(fixed or {})}
        self._open: list[str] = []
        self._steps = self._depth = 0

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def literal(self, name: str) -> Any:
        """The value of a top-level name as written; None if it is missing."""
        return self._content.get(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a top-level name, resolved; objects to build are `Component`."""
        return self.reference(name, default) if name in self._content else default

    def reference(self, name: str, default: Any = _MISSING) -> Any:
        """The value of a reference, ``a#b#0`` or ``a::b::0``.

        Raises:
            ModelError: there is no such value, or it refers to itself.
        """
        path = name.replace("::", "#").split("#")
        key = "#".join(path)
        if key in self._open:
            raise ModelError(f"{self.source}: {' -> '.join([*self._open, key])} refers to itself")
        raw = self._raw(path)
        if raw is _MISSING:
            if default is not _MISSING:
                return default
            raise ModelError(f"{self.source}: @{key[:80]} is referred to, and is not there")
        self._open.append(key)
        try:
            return self.resolved(raw, key)
        finally:
            self._open.pop()

    def resolved(self, value: Any, place: str) -> Any:
        """A value with references followed and expressions evaluated.

        Raises:
            ModelError: naming the place, if an expression is refused.
        """
        self._count(1)
        if self._depth >= MAX_DEPTH:
            raise self._too_deep()
        self._depth += 1
        try:
            return self._resolved(value, place)
        finally:
            self._depth -= 1

    def _count(self, values: int) -> None:
        self._steps += values
        if self._steps > MAX_STEPS:
            raise ModelError(
                f"{self.source}: refused, because its references lead to more than {MAX_STEPS} values"
            )

    def _too_deep(self) -> ModelError:
        return ModelError(f"{self.source}: refused, because its references lead more than {MAX_DEPTH} levels deep")

    def _resolved(self, value: Any, place: str) -> Any:
        if isinstance(value, str):
            return self._text(value, place)
        if isinstance(value, Mapping):
            if "_target_" in value:
                return self._component(value, place)
            return {str(key): self.resolved(item, f"{place}#{key}") for key, item in value.items()}
        if isinstance(value, list):
            items = [self.resolved(item, f"{place}#{number}") for number, item in enumerate(value)]
            return [item for item, raw in zip(items, value, strict=True) if item is not None or raw is None]
        return value

    def _text(self, text: str, place: str) -> Any:
        if text.startswith("$"):
            try:
                value = evaluate(text[1:], self.reference)
            except Refused as error:
                raise ModelError(
                    f"{self.source}, {place}: the expression {_short(text)} is refused, because {error}; "
                    "nothing of a bundle is run"
                ) from None
            self._count(len(value) // 100 if isinstance(value, str) else size_of(value, MAX_STEPS))
            return value
        if text.startswith("%"):
            if "#" in text[1:].replace("::", "#") and text[1:].split("#")[0].count("."):
                raise ModelError(f"{self.source}, {place}: {_short(text)} refers to another file; write it out")
            return self.reference(text[1:])
        match = REFERENCE.fullmatch(text)
        return self.reference(match[1]) if match else text

    def _component(self, value: Mapping[str, Any], place: str) -> Component | None:
        disabled = self.resolved(value.get("_disabled_", False), f"{place}#_disabled_")
        if truth(disabled):
            return None
        target = value["_target_"]
        if not isinstance(target, str):
            raise ModelError(f"{self.source}, {place}: _target_ is {_short(repr(target))}, and must be a name")
        if value.get("_mode_", "default") != "default":
            raise ModelError(f"{self.source}, {place}: _mode_ {_short(str(value['_mode_']))} is not understood")
        raw = {str(key): item for key, item in value.items() if key not in _ABOUT}
        return Component(target, place, self, raw)

    def _raw(self, path: Sequence[str]) -> Any:
        value: Any = self._content
        for number, part in enumerate(path):
            if isinstance(value, str) and (match := REFERENCE.fullmatch(value)):
                # A path may continue within the value of a reference.
                return self._through("#".join(path[:number]), match[1], path[number:])
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return _MISSING
        return value

    def _through(self, name: str, other: str, rest: Sequence[str]) -> Any:
        if name in self._open:
            raise ModelError(f"{self.source}: {name} refers to itself")
        if len(self._open) >= MAX_DEPTH:
            raise self._too_deep()
        self._open.append(name)
        try:
            return self._raw([*other.replace("::", "#").split("#"), *rest])
        finally:
            self._open.pop()


def truth(value: Any) -> bool:
    """Interpret a switch, which some configs write as text."""
    return value.strip().lower() == "true" if isinstance(value, str) else bool(value)


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
