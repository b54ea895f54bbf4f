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
    """A label table and the masks that it describes.

    Attributes:
        labels: Labels by value.
        masks: Paths of the masks below the output folder.
    """

    labels: dict[int, Label] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)

    def fits(self, labels: Sequence[Label]) -> bool:
        """Whether labels can be added without giving a value two meanings."""
        return all(self.labels.get(label.value, label).name == label.name for label in labels)

    def add(self, labels: Sequence[Label], path: str) -> None:
        """Add a mask."""
        for label in labels:
            self.labels.setdefault(label.value, label)
        self.masks.append(path)


def label_schemes(masks: Sequence[Mask], latest: Sequence[Label] = ()) -> dict[str, LabelScheme]:
    """Assign masks to label tables.

    Args:
        masks: Masks on record. Removed ones are used only if no mask exists.
        latest: Label table of the latest run, which becomes `LABEL_TABLE` if a mask has it.

    Returns:
        Schemes by file name, `LABEL_TABLE` first; empty if there is no mask.
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
