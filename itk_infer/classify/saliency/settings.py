"""Settings of the saliency maps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itk_infer.errors import ConfigError
from itk_infer.model.saliency.explainer import check_methods


@dataclass(frozen=True, slots=True)
class SaliencySettings:
    """Which images are explained, for which label, and by which methods.

    Attributes:
        methods: Names in `model.saliency.maps.METHODS`.
        wanted: Images to explain: ``positives``, ``all``, or a number per study.
        label: Name of the label to explain; None: see `targets.explained_label`.
        layer: Name of the tensor for Grad-CAM; None: chosen per network.
    """

    methods: tuple[str, ...]
    wanted: str = "positives"
    label: str | None = None
    layer: str | None = None

    def __post_init__(self) -> None:
        check_methods(self.methods)
        check_wanted(self.wanted)


def check_wanted(wanted: str) -> str:
    """Check the choice of images: ``positives``, ``all``, or a number per study.

    Raises:
        ConfigError: it is none of these.
    """
    if wanted in ("positives", "all") or (wanted.isascii() and wanted.isdigit() and int(wanted) > 0):
        return wanted
    raise ConfigError(f"`saliency_for={wanted}`: give positives, all, or a number of images per study")


def check_label(label: str | None, names: Sequence[str]) -> None:
    """Check the name of a label; None is valid.

    Raises:
        ConfigError: the model has no such label.
    """
    if label not in (None, *names):
        raise ConfigError(f"`saliency_label={label}`: the model has no such label; there are {', '.join(names)}")
