"""The page of the documentation that is made of results."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from parts import PARTS

PLOTS = "performance"  # a folder beside the page
PART = re.compile(r"<!-- part (\w+) -->\n(.*?)\n<!-- end -->", re.DOTALL)

HEAD = """# Performance

Written by `make bench` from what it measured; nothing here is edited by hand.

Contenders run in turn, round after round, each in a process and an environment of its own, on the same cores and
with as many threads. A time is the median of the rounds, with the smallest and the largest in brackets; a ratio is
the median of the ratios within a round. Beside every time stands how right the result was: *agreement* is the
share of voxels with the label of a reference that other code computed. Peers are the released packages, with the
same weights of the network.
"""


def write(results: dict[str, Any], docs: Path, python: str) -> None:
    """Write what was measured into the page and draw its plots; what else the page holds stays.

    Args:
        results: What the parts found, by name.
        docs: The folder of the page.
        python: An environment with matplotlib.
    """
    path = docs / "performance.md"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(text(results, before), encoding="utf-8")
    folder = docs / PLOTS
    folder.mkdir(exist_ok=True)
    jobs = [
        {"path": str(folder / f"{figure.name}.svg"), "figure": dataclasses.asdict(figure)}
        for name, result in measured(results)
        for figure in PARTS[name].figures(result["found"])
    ]
    subprocess.run([python, Path(__file__).with_name("plots.py")], input=json.dumps(jobs), text=True, check=True)


def measured(results: dict[str, Any]) -> list[tuple[str, Any]]:
    """Parts with figures, in the order of the page."""
    return [(name, results[name]) for name in PARTS if name in results and "skipped" not in results[name]["found"]]


def text(results: dict[str, Any], before: str = "") -> str:
    """The page, with the parts of an earlier one that were not measured anew."""
    parts = dict(PART.findall(before))
    for name, result in results.items():
        if "skipped" not in result["found"] or name not in parts:
            parts[name] = "\n".join(part_of_page(name, result))
    written = [f"<!-- part {name} -->\n{parts[name].strip()}\n<!-- end -->" for name in PARTS if name in parts]
    return "\n\n".join([HEAD.rstrip(), *written]) + "\n"


def part_of_page(name: str, result: dict[str, Any]) -> list[str]:
    """One part: its section, plots, and the machine it was measured on."""
    found = result["found"]
    if "skipped" in found:
        return [f"## Not measured: {name}", "", found["skipped"]]
    lines = [*PARTS[name].section(found), ""]
    for figure in PARTS[name].figures(found):
        lines += [f"![{figure.title}, {figure.unit}]({PLOTS}/{figure.name}.svg)", ""]
    return [*lines, about(result["machine"])]


def about(machine: dict[str, Any]) -> str:
    """What a part was measured on, and when."""
    environments = "; ".join(
        f"`{environment}`: {', '.join(f'{name} {version}' for name, version in found.items())}"
        for environment, found in machine["versions"].items()
    )
    return (
        f"Measured on {machine['date']}: {machine['processor']} ({machine['family']}), {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB of memory, {machine['system']}; {machine['threads']} threads used. Of the "
        f"instructions that matter here it has {', '.join(machine['flags']) or 'none'}. "
        f"Environments: {environments}."
    )
