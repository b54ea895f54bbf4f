"""Label tables for the masks of a folder: one file if they agree on every value, else one per scheme."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from itk_infer.run.masks import Mask
from itk_infer.spec import Label

LABEL_TABLE = "labels.csv"
OTHER_TABLE = re.compile(r"labels-[0-9a-f]{8}\.csv")


@dataclass(slots=True)
class LabelScheme:
    """Masks that one label table describes.

    Attributes:
        labels: By value.
        masks: Their paths below the output folder.
    """

    labels: dict[int, Label] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)

    def fits(self, labels: Sequence[Label]) -> bool:
        """Whether no value would have two meanings."""
        return all(self.labels.get(label.value, label).name == label.name for label in labels)

    def add(self, labels: Sequence[Label], path: str) -> None:
        """Add a mask."""
        for label in labels:
            self.labels.setdefault(label.value, label)
        self.masks.append(path)


def label_schemes(masks: Sequence[Mask], latest: Sequence[Label] = ()) -> dict[str, LabelScheme]:
    """Which file describes which masks.

    Args:
        masks: Those on record. Masks that are gone count only where none is left.
        latest: Label table of the latest run, which `LABEL_TABLE` is to be if a mask bears it.

    Returns:
        By file name; `LABEL_TABLE` first. Empty if there is no mask.
    """
    known = [mask for mask in masks if mask.labels]
    known = [mask for mask in known if mask.present] or known
    wanted = _meaning(latest)
    known.sort(key=lambda mask: str((mask.results or {}).get("ended")), reverse=True)
    known.sort(key=lambda mask: _meaning(mask.labels) != wanted)
    schemes: list[LabelScheme] = []
    for mask in known:
        scheme = next((scheme for scheme in schemes if scheme.fits(mask.labels)), None)
        if scheme is None:
            scheme = LabelScheme()
            schemes.append(scheme)
        scheme.add(mask.labels, mask.path or mask.case)
    return {LABEL_TABLE if not index else _name(scheme): scheme for index, scheme in enumerate(schemes)}


def _meaning(labels: Sequence[Label]) -> list[tuple[int, str]]:
    return [(label.value, label.name) for label in labels]


def _name(scheme: LabelScheme) -> str:
    meaning = json.dumps(sorted(_meaning(list(scheme.labels.values()))))
    return f"labels-{hashlib.sha256(meaning.encode()).hexdigest()[:8]}.csv"
