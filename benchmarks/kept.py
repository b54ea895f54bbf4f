"""Sections of the page whose parts are not in the results of this checkout: they stay as they were."""

from __future__ import annotations

import re
from collections.abc import Collection

MACHINE = "## Machine and versions"
DATED = re.compile(r"(\w+) \((\d{4}-\d\d-\d\d)\)")
COMMAND = re.compile(r"^make bench DATA=\S+( ONLY=\S+)?$")
Block = list[str]  # lines, of which the first is the heading


def with_kept(new: str, old: str, measured: Collection[str]) -> str:
    """A page with the sections of an older one that it does not have.

    Args:
        new: The page of the parts that are in the results.
        old: The page as it stands.
        measured: Names of the parts in the results; their older sections and dates are left out.

    Returns:
        The head of the new page; machines, the older ones first; sections in the order of the older page.
    """
    (head, *ours), (_, *theirs) = _blocks(new), _blocks(old)
    machines = [block for each in theirs if _is_machine(each) and (block := _without(each, measured))]
    machines += [block for block in ours if _is_machine(block)]
    if len(machines) > 1:
        machines = [[f"{MACHINE} {number}", *lines] for number, (_, *lines) in enumerate(machines, 1)]
    own = {block[0]: block for block in ours if not _is_machine(block)}
    sections = [own.pop(block[0], block) for block in theirs if not _is_machine(block)]
    lines = [line for block in (head, *machines, *sections, *own.values()) for line in (*_trimmed(block), "")]
    return "\n".join(lines).rstrip() + "\n"


def _blocks(page: str) -> list[Block]:
    """The head, and the sections; a line that begins so in a block of code is none."""
    found: list[Block] = [[]]
    code = False
    for line in page.splitlines():
        code ^= line.startswith("```")
        if line.startswith("## ") and not code:
            found.append([])
        found[-1].append(line)
    return found


def _is_machine(block: Block) -> bool:
    return block[0].startswith(MACHINE)


def _without(block: Block, measured: Collection[str]) -> Block | None:
    """A machine without the parts that were measured anew; None if no part is left."""
    text = "\n".join(block)
    parts = [(name, date) for name, date in DATED.findall(text) if name not in measured]
    if not parts:
        return None
    lines = []
    for line in block:
        if line.startswith("Measured here, "):
            line = f"Measured here, with the date: {', '.join(f'{name} ({date})' for name, date in parts)}."
        elif COMMAND.match(line):
            line = f"make bench DATA=/path/to/data ONLY={','.join(name for name, _ in parts)}"
        lines.append(line)
    return lines


def _trimmed(block: Block) -> Block:
    while block and not block[-1]:
        block = block[:-1]
    return block
