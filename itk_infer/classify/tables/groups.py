"""Images summed up: per study, series, patient or folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from itk_infer.classify.tables.source import FileRow, ImageRow, TableLabel
from itk_infer.classify.tables.study_rule import Sum


@dataclass(slots=True)
class Group:
    """One study, or what is summed up like one.

    Attributes:
        key: Its identifier.
        images: Counted ones, with a prediction.
        failed: Files that could not be read.
        copies: Images that were there before.
        conflicts: Images whose identifier another picture has; not counted.
        sums: By label.
        best: By label: the largest probability, path and frame of the image that gave it.
    """

    key: str
    sums: tuple[Sum, ...]
    best: list[tuple[float, str, int]]
    images: int = 0
    failed: int = 0
    copies: int = 0
    conflicts: int = 0

    @property
    def state(self) -> str:
        """Whether all, some or none of its files were read; empty ones have no image that counts."""
        if not self.images:
            return "failed" if self.failed else "empty"
        return "partly failed" if self.failed else "done"

    def values(self) -> tuple[float | None, ...]:
        """The probability per label; None without an image."""
        return tuple(item.result() if self.images else None for item in self.sums)

    def positives(self, labels: Sequence[TableLabel]) -> tuple[str, ...]:
        """Names of the labels whose threshold is reached."""
        pairs = zip(labels, self.values(), strict=True)
        return tuple(label.name for label, value in pairs if value is not None and value >= label.threshold)

    def image(self, label: int) -> str:
        """Path of the image with the largest probability, with its frame where that is not the first."""
        _, path, frame = self.best[label]
        return f"{path} [frame {frame}]" if frame else path


@dataclass(slots=True)
class Groups:
    """All groups; filled image by image, in the order of their paths.

    Attributes:
        by: study, series, patient or folder.
        labels: Of the model.
        rule: Makes an empty sum.
        found: By key.
        states: Images by state.
        other: Files without images by state.
    """

    by: str
    labels: Sequence[TableLabel]
    rule: Callable[[], Sum]
    found: dict[str, Group] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)

    def add_image(self, row: ImageRow) -> None:
        """An image. One without a prediction of the current model is not counted."""
        group = self._group(row.group(self.by))
        if row.state != "counted":
            group.copies += row.state == "copy"
            group.conflicts += row.state == "conflict"
            self.states[row.state] += 1
            return
        if not row.probabilities:
            self.states["without prediction"] += 1
            return
        self.states["counted"] += 1
        group.images += 1
        for index, value in enumerate(row.probabilities):
            group.sums[index].add(value)
            if value > group.best[index][0]:  # of equals, the first by its path
                group.best[index] = value, row.path, row.frame

    def add_file(self, row: FileRow) -> None:
        """A file without images: one that failed makes a row of its study, even the only one."""
        self.other[row.state] += 1
        if row.state == "failed":
            self._group(row.group(self.by)).failed += 1

    def sorted(self) -> list[Group]:
        """The groups by their keys."""
        return [self.found[key] for key in sorted(self.found)]

    def _group(self, key: str) -> Group:
        group = self.found.get(key)
        if group is None:
            count = len(self.labels)
            sums, best = tuple(self.rule() for _ in range(count)), [(-1.0, "", 0)] * count
            group = self.found[key] = Group(key, sums, best)
        return group
