"""Checked arguments of a bundle's components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import Component, truth
from itk_infer.spec.values import is_number

MAX_LEVELS = 20  # of Compose in Compose


def a_number(component: Component, key: str, default: float | None = None) -> float:
    """Read a finite number.

    Raises:
        ModelError: it is something else, or missing without a default.
    """
    value = component.argument(key, default)
    if not is_number(value):
        raise component.refused(f"has {key}={value!r:.60}, which must be a number")
    return float(value)


def a_switch(component: Component, key: str, default: bool = False) -> bool:
    """Read true or false, or a list with one such entry."""
    value = alone(component.argument(key, default))
    if not isinstance(value, bool | str | int | None):
        raise component.refused(f"has {key}={value!r:.60}, which must be true or false")
    return truth(value)


def alone(value: Any) -> Any:
    """The only entry of a list; other values unchanged."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def per_axis(component: Component, key: str, value: Any, axes: int = 3) -> list[float]:
    """Read one number per axis; a single number is used for all axes.

    Raises:
        ModelError: these are not finite numbers, or not `axes` many.
    """
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if len(numbers) == 1:
        numbers *= axes
    if len(numbers) != axes or not all(is_number(number) for number in numbers):
        raise component.refused(f"has {key}={value!r:.60}, which must be one number, or {axes}")
    return [float(number) for number in numbers]


def whole_per_axis(component: Component, key: str, value: Any, axes: int = 3) -> list[int]:
    """As `per_axis`, for whole numbers."""
    numbers = per_axis(component, key, value, axes)
    if any(number != int(number) for number in numbers):
        raise component.refused(f"has {key}={value!r:.60}, which must be whole numbers")
    return [int(number) for number in numbers]


def nothing_but(component: Component, key: str, default: Any, *harmless: Any) -> None:
    """Refuse an argument whose value is neither its default nor one of those without effect.

    Raises:
        ModelError: the argument has another value.
    """
    value = alone(component.argument(key, default))
    if value not in (default, *harmless):
        raise component.refused(f"has {key}={value!r:.60}, which is not understood")


def components(value: Any, where: str, source: str, level: int = 0) -> Sequence[Component]:
    """Flatten a component, a list of components, or a ``Compose`` to a list of transforms.

    Raises:
        ModelError: an entry is not a component, or a ``Compose`` is in itself.
    """
    if level > MAX_LEVELS:
        raise ModelError(f"{source}, {where}: Compose is in itself, or more than {MAX_LEVELS} levels deep")
    if isinstance(value, Component) and value.name == "Compose":
        return components(value.argument("transforms", []), value.place, source, level + 1)
    found: list[Component] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, Component):
            found += components(item, item.place, source, level) if item.name == "Compose" else [item]
        elif item is not None:
            raise ModelError(f"{source}, {where}: {item!r:.60} is no transform of MONAI")
    return found
