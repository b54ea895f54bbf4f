"""Arguments of MONAI's networks that name layers and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itk_infer.model.kinds.network_steps.step import Activation, Norm
from itk_infer.spec.values import is_number

_NORM_KEYWORDS = {"eps", "affine", "momentum", "track_running_stats"}
# By MONAI's names in lower case; where apex is missing, as on every CPU, MONAI takes torch's instead of NVIDIA's.
_NORMS = {"instance": "instance", "instance_nvfuser": "instance", "batch": "batch"}
# Keywords, and which of them is the value of the formula, with its default.
_ACTIVATIONS: Mapping[str, tuple[set[str], str, float]] = {
    "relu": ({"inplace"}, "", 1),
    "relu6": ({"inplace"}, "", 1),
    "sigmoid": (set(), "", 1),
    "tanh": (set(), "", 1),
    "mish": ({"inplace"}, "", 1),
    "leakyrelu": ({"inplace", "negative_slope"}, "negative_slope", 0.01),
    "elu": ({"inplace", "alpha"}, "alpha", 1),
    "swish": ({"alpha"}, "alpha", 1),
    "memswish": ({"inplace"}, "", 1),
    "prelu": ({"num_parameters", "init"}, "", 1),
}


class NotDescribed(Exception):
    """The network is not described as steps; the message says why. MONAI may build it."""


def whole(value: Any, what: str) -> int:
    """A positive whole number.

    Raises:
        NotDescribed: it is something else, as in all functions of this module.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise NotDescribed(f"{what} is {value!r:.60}")
    return value


def wholes(value: Any, what: str) -> tuple[int, ...]:
    """Positive whole numbers."""
    if not isinstance(value, list | tuple):
        raise NotDescribed(f"{what} is {value!r:.60}")
    return tuple(whole(item, what) for item in value)


def size(value: Any, dimensions: int, what: str) -> tuple[int, ...]:
    """One positive whole number per axis; a single number is used for all."""
    numbers = wholes(value, what) if isinstance(value, list | tuple) else (whole(value, what),) * dimensions
    if len(numbers) != dimensions:
        raise NotDescribed(f"{what} is {value!r:.60} in {dimensions} dimensions")
    return numbers


def sizes(value: Any, dimensions: int, what: str) -> tuple[tuple[int, ...], ...]:
    """One size per stage."""
    if not isinstance(value, list | tuple):
        raise NotDescribed(f"{what} is {value!r:.60}")
    return tuple(size(item, dimensions, what) for item in value)


def switch(value: Any, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise NotDescribed(f"{what} is {value!r:.60}")
    return value


def read_norm(value: Any, channels: int) -> Norm | None:
    """A normalisation of so many channels, as MONAI's `get_norm_layer` makes it; None: there is none."""
    if value is None or value == "":
        return None
    name, keywords = _named(value, "norm")
    eps = keywords.get("eps", 1e-5)
    if not is_number(eps) or eps <= 0:
        raise NotDescribed(f"norm has eps={eps!r:.60}")
    if name == "group":
        _only(keywords, {"num_groups", "eps", "affine"}, "norm")
        groups = whole(keywords.get("num_groups"), "num_groups")
        if channels % groups:
            raise NotDescribed(f"norm has {groups} groups of {channels} channels")
        return Norm("group", switch(keywords.get("affine", True), "affine"), eps=float(eps), groups=groups)
    if name not in _NORMS:
        raise NotDescribed(f"norm {name!r:.60}")
    _only(keywords, _NORM_KEYWORDS, "norm")
    batch = _NORMS[name] == "batch"
    affine, tracked = (switch(keywords.get(key, batch), key) for key in ("affine", "track_running_stats"))
    if batch and not tracked:
        raise NotDescribed("batch normalisation without statistics from training")
    return Norm("batch" if batch else "instance", affine, tracked, float(eps))


def read_activation(value: Any, channels: int) -> tuple[Activation | None, int]:
    """An activation of so many channels, as MONAI's `get_act_layer` makes it, and its number of weights."""
    if value is None or value == "":
        return None, 0
    name, keywords = _named(value, "activation")
    if name not in _ACTIVATIONS:
        raise NotDescribed(f"activation {name!r:.60}")
    known, key, default = _ACTIVATIONS[name]
    _only(keywords, known, "activation")
    number = keywords.get(key, default)
    if not is_number(number):
        raise NotDescribed(f"activation has {key}={number!r:.60}")
    if name == "prelu":
        weights = whole(keywords.get("num_parameters", 1), "num_parameters")
        if weights not in (1, channels):
            raise NotDescribed(f"activation has {weights} weights for {channels} channels")
        return Activation("prelu"), weights
    return Activation("swish" if name == "memswish" else name, float(number)), 0  # type: ignore[arg-type]


def check_dropout(value: Any) -> None:
    """Dropout changes nothing here; raise for one that MONAI might not make."""
    if value is None or value == "":
        return
    share = value
    if not is_number(value):
        name, keywords = _named(value, "dropout")
        _only(keywords, {"p", "inplace"}, "dropout")
        share = keywords.get("p", 0.5) if name in ("dropout", "alphadropout") else None
    if not is_number(share) or not 0 <= share <= 1:
        raise NotDescribed(f"dropout {value!r:.60}")


def _named(value: Any, what: str) -> tuple[str, Mapping[str, Any]]:
    """A name in lower case and keywords: either a name, or a pair."""
    name, keywords = value if isinstance(value, list | tuple) and len(value) == 2 else (value, {})
    if not isinstance(name, str) or not isinstance(keywords, dict):
        raise NotDescribed(f"{what} {value!r:.60}")
    return name.lower(), keywords


def _only(keywords: Mapping[str, Any], known: set[str], what: str) -> None:
    others = sorted(map(str, keywords.keys() - known))
    if others:
        raise NotDescribed(f"{what} has {', '.join(others):.60}")
