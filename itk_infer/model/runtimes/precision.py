"""The number format that a network runs in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from itk_infer.errors import ConfigError
from itk_infer.options_of_models import PrecisionChoice

Precision = Literal["fp32", "fp16", "bf16"]


def choose_precision(
    wish: PrecisionChoice, offered: Collection[Precision], where: str
) -> tuple[Precision, list[str]]:
    """Choose the precision to run in; returns it, and notes for the user.

    Args:
        wish: What was asked for; ``auto`` is fp32, and ``half`` falls back to fp32 with a note.
        offered: Reduced precisions that this device runs fast, the best first.
        where: Device and library, for messages.

    Raises:
        ConfigError: a precision was asked for by name that is not available.
    """
    if wish in ("auto", "fp32"):
        return "fp32", []
    if wish == "half":
        best = next(iter(offered), None)
        if best is None:
            return "fp32", [f"precision: fp32 ({where} has no fast half precision)"]
        return best, [f"precision: {best}, the half precision of {where}"]
    for precision in offered:
        if precision == wish:
            return precision, []
    there = " and ".join(["fp32", *offered])
    raise ConfigError(
        f"`precision={wish}`: {where} runs {there}; choose one of these, or `precision=half` for the best"
    )
