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

HEAD = """# Performance

Written by `make bench` from what it measured; nothing here is edited by hand.

Contenders run in turn, round after round, each in a process and an environment of its own, on the same cores and
with as many threads. A time is the median of the rounds, with the smallest and the largest in brackets; a ratio is
the median of the ratios within a round. Beside every time stands how right the result was: *agreement* is the
share of voxels with the label of a reference that other code computed. Peers are the released packages, with the
same weights of the network.
"""


def write(results: dict[str, Any], docs: Path, python: str) -> None:
    """Write the page and draw its plots.

    Args:
        results: What the parts found, by name.
        docs: The folder of the page.
        python: An environment with matplotlib.
    """
    page = docs / "performance.md"
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    page.write_text(with_sections(text(results), before, results), encoding="utf-8")
    folder = docs / PLOTS
    folder.mkdir(exist_ok=True)
    jobs = [
        {"path": str(folder / f"{figure.name}.svg"), "figure": dataclasses.asdict(figure)}
        for name, result in measured(results)
        for figure in PARTS[name].figures(result["found"])
    ]
    subprocess.run([python, Path(__file__).with_name("plots.py")], input=json.dumps(jobs), text=True, check=True)


def with_sections(new: str, before: str, results: dict[str, Any]) -> str:
    """The new page with those sections of the one before whose figures are not in the results any more.

    Args:
        new: The page of the results.
        before: The page that it replaces; empty: there was none.
        results: What the parts found; where all parts are in it, nothing is missing.
    """
    if set(PARTS) <= set(results):
        return new
    sections = re.split(r"^(?=## )", before, flags=re.MULTILINE)[1:]
    headings = set(re.findall(r"^## .*$", new, flags=re.MULTILINE))
    older = [each for each in sections if _of_machine(each) and each.strip() not in new]
    machines = [each.replace("## Machine", "## Earlier: machine", 1) for each in older]
    others = [each for each in sections if not _of_machine(each) and each.partition("\n")[0] not in headings]
    if not others:
        return new
    return "\n\n".join(each.strip() for each in (new, *machines, *others)) + "\n"


def _of_machine(section: str) -> bool:
    return section.startswith(("## Machine", "## Earlier: machine"))


def measured(results: dict[str, Any]) -> list[tuple[str, Any]]:
    """Parts with figures, in the order of the page."""
    return [(name, results[name]) for name in PARTS if name in results and "skipped" not in results[name]["found"]]


def text(results: dict[str, Any]) -> str:
    """The page."""
    lines = [HEAD]
    machines: list[dict[str, Any]] = []
    for name in PARTS:
        machine = results.get(name, {}).get("machine")
        if machine and _place(machine) not in map(_place, machines):
            machines.append(machine)
    for number, machine in enumerate(machines, 1):
        parts = [name for name in PARTS if name in results and _place(results[name]["machine"]) == _place(machine)]
        lines += about(machine, number if len(machines) > 1 else None, parts, results)
    for name in PARTS:
        if name not in results:
            continue
        found = results[name]["found"]
        if "skipped" in found:
            lines += [f"## Not measured: {name}", "", found["skipped"], ""]
            continue
        lines += PARTS[name].section(found)
        lines += [""]
        for figure in PARTS[name].figures(found):
            lines += [f"![{figure.title}, {figure.unit}]({PLOTS}/{figure.name}.svg)", ""]
    return "\n".join(lines).rstrip() + "\n"


def about(machine: dict[str, Any], number: int | None, parts: list[str], results: dict[str, Any]) -> list[str]:
    """What the figures of some parts were measured on."""
    heading = "## Machine and versions" if number is None else f"## Machine and versions {number}"
    lines = [
        heading,
        "",
        f"{machine['processor']} ({machine['family']}), {machine['cores']} cores, {machine['memory_gib']} GiB of "
        f"memory, {machine['system']}; {machine['threads']} threads used. Of the instructions that matter here it "
        f"has {', '.join(machine['flags']) or 'none'}.",
        "",
    ]
    for environment, found in machine["versions"].items():
        listed = ", ".join(f"{name} {version}" for name, version in found.items())
        lines.append(f"* Environment `{environment}`: {listed}")
    dates = ", ".join(f"{name} ({results[name]['machine']['date']})" for name in parts)
    return [*lines, "", f"Measured here, with the date: {dates}.", "", "```text", commands(parts), "```", ""]


def commands(parts: list[str]) -> str:
    every = len(parts) == len(PARTS)
    return "make bench DATA=/path/to/data" + ("" if every else f" ONLY={','.join(parts)}")


def _place(machine: dict[str, Any]) -> dict[str, Any]:
    """What two measurements on one machine share."""
    return {key: value for key, value in machine.items() if key != "date"}
