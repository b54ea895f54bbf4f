"""What is explained, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itk_infer.errors import ConfigError
from itk_infer.model.saliency.explainer import check_methods


@dataclass(frozen=True, slots=True)
class SaliencySettings:
    """What is explained, and how.

    Attributes:
        methods: Of `model.saliency.maps.METHODS`.
        wanted: Which images: ``positives``, ``all``, or a number per study.
        label: Name of the label that is explained; None: see `targets.explained_label`.
        layer: The tensor that Grad-CAM explains; None: found.
    """

    methods: tuple[str, ...]
    wanted: str = "positives"
    label: str | None = None
    layer: str | None = None

    def __post_init__(self) -> None:
        check_methods(self.methods)
        check_wanted(self.wanted)


def check_wanted(wanted: str) -> str:
    """``positives``, ``all``, or a number of images per study.

    Raises:
        ConfigError: it is none of them.
    """
    if wanted in ("positives", "all") or (wanted.isascii() and wanted.isdigit() and int(wanted) > 0):
        return wanted
    raise ConfigError(f"`saliency_for={wanted}`: give positives, all, or a number of images per study")


def check_label(label: str | None, names: Sequence[str]) -> None:
    """Refuse a label that the model does not have; None is any.

    Raises:
        ConfigError: there is no such label.
    """
    if label not in (None, *names):
        raise ConfigError(f"`saliency_label={label}`: the model has no such label; there are {', '.join(names)}")
