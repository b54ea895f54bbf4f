"""Tables of ground truth: one row per image or study with one column per label, or Kaggle's long format."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from itk_infer.errors import ConfigError

KEYS: Final = ("file", "sop", "study", "series", "patient", "folder")
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True, slots=True)
class TruthTable:
    """Ground truth of images, or of groups of images.

    Attributes:
        key: Column that identifies a row: `file` or `sop` for images, else the name of the group.
        labels: Names of labels with ground truth.
        values: 0 or 1 per label, by key and, if there is a column of frames, frame number.
        unused: Names of columns and rows that match nothing, for a remark.
    """

    key: str
    labels: tuple[str, ...]
    values: dict[tuple[str, int | None], dict[str, bool]]
    unused: tuple[str, ...] = ()

    @property
    def of_images(self) -> bool:
        """Whether the rows are of images."""
        return self.key in ("file", "sop")

    def find(self, key: str, frame: int = 0) -> tuple[tuple[str, int | None] | None, dict[str, bool]]:
        """Key and values of the row of an image, or of the row of its file if no row has its frame."""
        names = ((key, frame), (key, None), (f"ID_{key}_{frame}", None), (f"ID_{key}", None))
        place = next((name for name in names if name in self.values), None)
        return place, {} if place is None else self.values[place]


def read_truth(path: Path, labels: Sequence[str]) -> TruthTable:
    """Read a table of ground truth.

    Args:
        path: A ``.csv`` with a column ``file``, ``sop``, ``study``, ``series``, ``patient`` or ``folder``, and
            optionally ``frame``, and a column of 0 and 1 per label, named as the label or ``true_`` and its name;
            an empty cell is unknown. Or with the columns ``ID`` (``ID_<sop>_<label>``) and ``Label``.
        labels: Labels of the model.

    Raises:
        ConfigError: the file cannot be read, or is not such a table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name or "" for name in reader.fieldnames or ()]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as a table ({error})") from None
    if "ID" in names and "Label" in names:
        return _long(path, rows, labels)
    columns = {label: name for label in labels for name in (f"true_{label}", label) if name in names}
    key = next((name for name in KEYS if name in names), None)
    if key is None or not columns:
        missing = f"a column {', '.join(KEYS[:-1])} or {KEYS[-1]}" if key is None else "a column of a label"
        raise ConfigError(f"{path}: has no {missing.removeprefix('a ')}; the labels are {', '.join(labels)}")
    values: dict[tuple[str, int | None], dict[str, bool]] = {}
    for number, row in enumerate(rows, 2):
        known = {
            label: value
            for label, name in columns.items()
            if (value := _value(row[name], f"{path}, line {number}, {name}")) is not None
        }
        frame = row.get("frame") or ""
        place = (_plain(row[key] or ""), int(frame) if frame.isdecimal() else None)
        if known and values.setdefault(place, known) != known:
            raise ConfigError(f"{path}, line {number}: {row[key]} has other values in an earlier line")
    used = {*columns.values(), *KEYS, "frame"}
    return TruthTable(key, tuple(columns), values, tuple(name for name in names if name not in used))


def _long(path: Path, rows: Sequence[dict[str, str]], labels: Sequence[str]) -> TruthTable:
    values: dict[tuple[str, int | None], dict[str, bool]] = {}
    unused: list[str] = []
    for number, row in enumerate(rows, 2):
        name = row["ID"] or ""
        label = next((one for one in _longest_first(labels) if name.endswith(f"_{one}")), None)
        value = _value(row["Label"], f"{path}, line {number}, Label")
        if label is None:
            unused.append(name)
        elif value is not None:
            values.setdefault((name[: -len(label) - 1], None), {})[label] = value
    found = {label for known in values.values() for label in known}
    if not found:
        raise ConfigError(f"{path}: no ID ends in one of the labels {', '.join(labels)}")
    return TruthTable("sop", tuple(label for label in labels if label in found), values, tuple(unused))


def _longest_first(labels: Sequence[str]) -> Iterator[str]:
    yield from sorted(labels, key=len, reverse=True)


def _plain(text: str) -> str:
    """A cell without the leading mark that keeps spreadsheets from reading it as a formula."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def _value(text: str | None, where: str) -> bool | None:
    word = (text or "").strip().lower()
    if word in YES or word in NO:
        return word in YES
    if word:
        raise ConfigError(f"{where}: '{word[:40]}' is neither 0 nor 1; leave it empty where the truth is unknown")
    return None
