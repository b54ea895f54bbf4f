"""`itk_infer evaluate` for folders of classified images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from itk_infer.streams import lost_output
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.classify.tables.groups import Group
    from itk_infer.classify.tables.source import ImageRow, ResultsSource
    from itk_infer.evaluate.classified.scores import LabelScores
    from itk_infer.evaluate.classified.truths import TruthTable

SPECIFICITIES = (0.9, 0.95)


def evaluate_classified(
    results: Path,
    truths: Path,
    *,
    output: Path | None,
    html: bool,
    specificity: Sequence[float],
    group_by: str | None,
    study_rule: str | None,
) -> int:
    """Measure probabilities of images, and of studies, against a table of truth; returns the exit code.

    Raises:
        ConfigError: there are no results, or the table cannot be used.
        OutputError: the table or the page cannot be written.
    """
    from itk_infer.classify.tables.source import ResultsSource
    from itk_infer.errors import ConfigError
    from itk_infer.evaluate.classified.page import page_html
    from itk_infer.evaluate.classified.tables import definition_of, score_lines, score_rows
    from itk_infer.evaluate.classified.truths import read_truth
    from itk_infer.files.cells import write_csv
    from itk_infer.files.commit import write_bytes
    from itk_infer.files.folders import make_folder

    with closing(ResultsSource(results)) as source:
        table = read_truth(truths, [label.name for label in source.labels])
        measured = _Comparison(source, table, group_by, study_rule, tuple(specificity) or SPECIFICITIES)
        scores, remarks = measured.scores(), measured.remarks()
        if not scores:
            raise ConfigError(
                f"{truths}: nothing in its column {table.key} is in {source.path}; give the names as in images.csv"
            )
    if output is not None:
        make_folder(output.parent)
        write_csv(output, score_rows(scores))
        if html:
            page = page_html(scores, remarks, source.name, definition_of(scores))
            write_bytes(page, output.with_suffix(".html"))
    click.echo("\n".join(printable(line) for line in score_lines(scores)))
    for remark in remarks:
        click.echo(printable(remark), err=True)
    return 1 if lost_output() else 0


class _Comparison:
    """Pairs predictions with truth, in one pass over the images."""

    def __init__(
        self,
        source: ResultsSource,
        table: TruthTable,
        group_by: str | None,
        study_rule: str | None,
        specificities: tuple[float, ...],
    ) -> None:
        from itk_infer.classify.tables.groups import Groups
        from itk_infer.classify.tables.study_rule import study_rule as rule_named

        self._source, self._table, self._specificities = source, table, specificities
        of_groups = None if table.of_images else table.key
        if of_groups and group_by not in (None, of_groups):
            raise click.UsageError(f"--group-by {group_by}: the truth is about each {of_groups}")
        self._by = of_groups or group_by or "study"
        self._groups = Groups(self._by, source.labels, rule_named(study_rule or source.study_rule))
        self._images: list[tuple[str, tuple[float, ...], dict[str, bool]]] = []
        self._truths: dict[str, list[dict[str, bool]]] = {}
        self._without, self._used = 0, set[tuple[str, int | None]]()
        for row in source.images():
            self._add(row)
        for file in source.other_files():
            self._groups.add_file(file)

    def scores(self) -> list[LabelScores]:
        """Scores of images, if the truth is about images, then of studies."""
        found = []
        for index, label in enumerate(self._source.labels):
            if label.name in self._table.labels and self._table.of_images:
                known = [
                    (study, values[index], truth[label.name])
                    for study, values, truth in self._images
                    if label.name in truth
                ]
                found += self._measured(index, "image", known)
        for index, label in enumerate(self._source.labels):
            if label.name in self._table.labels:
                known = [
                    (group.key, value, truth)
                    for group in self._groups.sorted()
                    if (value := group.values()[index]) is not None
                    and (truth := self._truth_of(group, label.name)) is not None
                ]
                found += self._measured(index, self._by, known)
        return found

    def remarks(self) -> list[str]:
        """Notes on rows that were left out of the measures."""
        said = []
        if self._without:
            said.append(f"{self._without} images have no truth and are in no figure")
        empty = sum(not group.images for group in self._groups.found.values())
        if empty:
            said.append(f"{empty} of the {self._by} groups have no readable image and are in no figure")
        if not self._table.of_images:
            self._used = {(key, None) for key in self._groups.found}
        lost = len(self._table.values.keys() - self._used)
        if lost:
            said.append(f"{lost} rows of the truth belong to no image that was classified")
        if self._table.unused:
            more = "" if len(self._table.unused) <= 10 else f" and {len(self._table.unused) - 10} more"
            said.append(f"not used of the truth: {', '.join(self._table.unused[:10])}{more}")
        return said

    def _add(self, row: ImageRow) -> None:
        self._groups.add_image(row)
        if row.state != "counted" or not row.probabilities or not self._table.of_images:
            return
        place, truth = self._table.find(row.path if self._table.key == "file" else row.sop, row.frame)
        self._truths.setdefault(row.group(self._by), []).append(truth)
        self._without += not truth
        if place is not None:
            self._used.add(place)
            self._images.append((row.study, row.probabilities, truth))

    def _truth_of(self, group: Group, label: str) -> bool | None:
        """Truth of a study: its own, or whether one of its images has the finding; None if unknown."""
        if not self._table.of_images:
            return self._table.find(group.key)[1].get(label)
        known = [truth.get(label) for truth in self._truths.get(group.key, [])]
        if True in known:
            return True
        return None if None in known or not known else False

    def _measured(self, index: int, level: str, known: list[tuple[str, float, bool]]) -> list[LabelScores]:
        import numpy as np

        from itk_infer.evaluate.classified.scores import measure

        if not known:
            return []
        studies, probabilities, truth = zip(*known, strict=True)
        label = self._source.labels[index]
        items = np.array(probabilities, float), np.array(truth, bool)
        return [measure(label.name, level, *items, studies, label.threshold, self._specificities)]
