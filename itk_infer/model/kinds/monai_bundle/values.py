"""Checked arguments of a bundle's components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import Component, truth


def a_number(component: Component, key: str, default: float | None = None) -> float:
    """A finite number.

    Raises:
        ModelError: it is something else, or not given and without a default.
    """
    value = component.argument(key, default)
    if not is_number(value):
        raise component.refused(f"has {key}={value!r:.60}, which must be a number")
    return float(value)


def a_switch(component: Component, key: str, default: bool = False) -> bool:
    """True or false; of a list with one entry, that."""
    value = alone(component.argument(key, default))
    if not isinstance(value, bool | str | int | None):
        raise component.refused(f"has {key}={value!r:.60}, which must be true or false")
    return truth(value)


def alone(value: Any) -> Any:
    """The only entry of a list; other values as they are."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def per_axis(component: Component, key: str, value: Any, axes: int = 3) -> list[float]:
    """One number per axis; one number holds for all.

    Raises:
        ModelError: they are no finite numbers, or not that many.
    """
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if len(numbers) == 1:
        numbers *= axes
    if len(numbers) != axes or not all(is_number(number) for number in numbers):
        raise component.refused(f"has {key}={value!r:.60}, which must be one number, or {axes}")
    return [float(number) for number in numbers]


def whole_per_axis(component: Component, key: str, value: Any, axes: int = 3) -> list[int]:
    """The same of whole numbers."""
    numbers = per_axis(component, key, value, axes)
    if any(number != int(number) for number in numbers):
        raise component.refused(f"has {key}={value!r:.60}, which must be whole numbers")
    return [int(number) for number in numbers]


def nothing_but(component: Component, key: str, default: Any, *harmless: Any) -> None:
    """Refuse an argument that is neither its default nor one of the values that change nothing.

    Raises:
        ModelError: it is another.
    """
    value = alone(component.argument(key, default))
    if value not in (default, *harmless):
        raise component.refused(f"has {key}={value!r:.60}, which is not understood")


def components(value: Any, where: str, source: str) -> Sequence[Component]:
    """The components of a ``Compose``, or of a list of them, those within another ``Compose`` in their order.

    Raises:
        ModelError: one is something else.
    """
    if isinstance(value, Component) and value.name == "Compose":
        return components(value.argument("transforms", []), value.place, source)
    found: list[Component] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, Component):
            found += components(item, item.place, source) if item.name == "Compose" else [item]
        elif item is not None:
            raise ModelError(f"{source}, {where}: {item!r:.60} is no transform of MONAI")
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no switch."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
