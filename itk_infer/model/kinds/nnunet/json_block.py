"""A JSON object of nnU-Net, whose values are read with a check of their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.spec.values import is_number


@dataclass(frozen=True, slots=True)
class JsonBlock:
    """A JSON object and its place.

    Attributes:
        content: The object.
        where: Its place, for messages: ``.../plans.json: configuration 3d_fullres``.
    """

    content: Mapping[str, Any]
    where: str

    def has(self, key: str) -> bool:
        """Whether the key exists and is not null."""
        return self.content.get(key) is not None

    def block(self, key: str) -> JsonBlock:
        """Read an object.

        Raises:
            ModelError: it is missing or of another type; also raised by the methods below.
        """
        value = self._get(key)
        if not isinstance(value, Mapping):
            raise self.wrong(key, "an object")
        return JsonBlock(value, f"{self.where}, {key}")

    def text(self, key: str, default: str | None = None) -> str:
        """Read a text."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Read a finite number."""
        return _number(self._get(key, default), self.wrong(key, "a number"))

    def switch(self, key: str, default: bool | None = None) -> bool:
        """Read true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def items(self, key: str) -> Sequence[Any]:
        """Read a list."""
        value = self._get(key)
        if not isinstance(value, list | tuple):
            raise self.wrong(key, "a list")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """Read a list of finite numbers."""
        return tuple(_number(item, self.wrong(key, "a list of numbers")) for item in self.items(key))

    def integers(self, key: str) -> tuple[int, ...]:
        """Read a list of whole numbers."""
        return tuple(whole(item, self.wrong(key, "a list of whole numbers")) for item in self.items(key))

    def wrong(self, key: str, wanted: str) -> ModelError:
        """Make the error that a value is missing or of another type than `wanted`."""
        found = "is missing" if key not in self.content else f"is {str(self.content[key])[:60]!r}"
        return ModelError(
            f"{self.where}: {key} {found}, and {wanted} is needed; was this file written by nnU-Net?"
        )

    def _get(self, key: str, default: Any = None) -> Any:
        value = self.content.get(key)
        return default if value is None else value


def whole(value: Any, error: ModelError) -> int:
    """Check a whole number, which JSON may write as 2.0.

    Raises:
        ModelError: `error`, if the value is something else.
    """
    number = _number(value, error)
    if number != int(number):
        raise error
    return int(number)


def _number(value: Any, error: ModelError) -> float:
    if not is_number(value):
        raise error
    number: float = value
    return number
