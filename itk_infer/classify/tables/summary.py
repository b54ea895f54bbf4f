"""The summary printed after a run, and by `itk_infer report`."""

from __future__ import annotations

from typing import Final

from itk_infer.classify.tables.write import PLURAL, TableSummary

MOST_COMBINATIONS: Final = 10


def summary_lines(summary: TableSummary, *, speed: bool = True) -> list[str]:
    """Images, speed of the last run if `speed`, studies, and positives per label and per combination."""
    counted = summary.images["counted"]
    other = [f"{count} {state}" for state, count in sorted(summary.images.items()) if state != "counted" and count]
    other += [f"{count} files {state}" for state, count in sorted(summary.files.items())]
    lines = [f"images: {counted}" + (f" ({', '.join(other)})" if other else "")]
    if speed and summary.run is not None and summary.run[1] > 0:
        images, seconds = summary.run
        lines.append(f"last run: {images} images in {seconds:.1f} s, {images / seconds:.1f} images/s")
    empty = f", {summary.empty} of them without a readable image" if summary.empty else ""
    plural = PLURAL[summary.group_by]
    lines.append(f"{plural}: {summary.groups}{empty}")
    width = max((len(name) for name in summary.positives), default=0)
    for name, count in summary.positives.items():
        lines.append(f"  {name:<{width}}  {count} positive {plural}")
    several = [(names, count) for names, count in summary.combinations.most_common() if len(names) > 1]
    for names, count in several[:MOST_COMBINATIONS]:
        lines.append(f"  {' + '.join(names)}: {count}")
    if len(several) > MOST_COMBINATIONS:
        lines.append(f"  and {len(several) - MOST_COMBINATIONS} more combinations")
    none = summary.combinations[()]
    lines.append(f"  none of them: {none}")
    return lines
