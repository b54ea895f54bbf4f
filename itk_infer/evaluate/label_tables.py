"""Label tables inside or beside label maps: names, values, and tolerances of the NSD."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError
from itk_infer.evaluate.label_match import NamedLabel
from itk_infer.spec import Label, parse_spec
from itk_infer.spec.labels import distinct

LONGEST_HEAD = 1 << 24  # longest header that is read, in bytes
NAMES = ("labels.csv", "dataset.json")
_SEGMENT = re.compile(r"^Segment(\d+)_(Name|LabelValue):=(.*)$", re.MULTILINE)


def from_labels(labels: Iterable[Label]) -> dict[int, NamedLabel]:
    """The label table of a model spec."""
    return {label.value: NamedLabel(label.value, label.name, label.tolerance_mm) for label in labels}


def table_beside(path: Path) -> dict[int, NamedLabel]:
    """The table in the folder of label maps: ``labels.csv``, or the ``dataset.json`` of nnU-Net; empty if none.

    Args:
        path: The folder, or a file in it. The file of nnU-Net lies one folder above.

    Raises:
        ConfigError: the table cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    for file in (folder / NAMES[0], folder / NAMES[1], folder.parent / NAMES[1]):
        if file.is_file():
            return read_table(file)
    return {}


def read_table(path: Path) -> dict[int, NamedLabel]:
    """Read a label table: a ``.csv`` with LabelValue and Name, a model spec, or a ``dataset.json`` of nnU-Net.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".csv":
            rows = csv.DictReader(text.splitlines())
            return {int(row["LabelValue"]): NamedLabel(int(row["LabelValue"]), row["Name"]) for row in rows}
        document = json.loads(text)
        if isinstance(document, dict) and isinstance(document.get("labels"), Mapping):
            return _nnunet(document["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: is no label table ({error or type(error).__name__}); give a model spec, a .csv with the "
            "columns LabelValue and Name, or a dataset.json of nnU-Net"
        ) from error
    return from_labels(distinct(parse_spec(document, str(path)).output.labels or ()))


def _nnunet(labels: Mapping[str, Any]) -> dict[int, NamedLabel]:
    """Entries of ``{"liver": 1}``, or of the older ``{"1": "liver"}``; regions of several values are skipped."""
    found = {}
    for key, entry in labels.items():
        name, value = (str(entry), int(key)) if isinstance(entry, str) else (key, entry)
        if isinstance(value, int) and value:
            found[value] = NamedLabel(value, name)
    return found


def nrrd_head(path: Path) -> str:
    """The header of an NRRD file, which may list hundreds of segments; empty if it cannot be read."""
    head = bytearray()
    try:
        with path.open("rb") as file:
            while len(head) < LONGEST_HEAD and (block := file.read(1 << 16)):
                head += block
                if (end := head.find(b"\n\n")) >= 0:
                    return head[:end].decode("utf-8", "replace")
    except OSError:
        pass
    return ""


def table_inside(path: Path) -> dict[int, NamedLabel]:
    """The table in the header of a segmentation of 3D Slicer (``.seg.nrrd``); empty for other files."""
    if not path.name.lower().endswith(".nrrd"):
        return {}
    segments: dict[str, dict[str, str]] = {}
    for index, key, value in _SEGMENT.findall(nrrd_head(path)):
        segments.setdefault(index, {})[key] = value.strip()
    whole = [entry for entry in segments.values() if len(entry) == 2 and entry["LabelValue"].isdecimal()]
    return {int(e["LabelValue"]): NamedLabel(int(e["LabelValue"]), e["Name"]) for e in whole}
