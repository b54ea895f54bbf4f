"""Shards: independent jobs, such as those of an array job, each compute every N-th case of a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from itk_infer.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def stem(self) -> str:
        """Stem of the file names of its ledger and lock."""
        return f"itk_infer.shard-{self.number}-of-{self.count}"

    def select(self, items: Sequence[T]) -> list[T]:
        """Select this shard's items of a sorted list."""
        return list(items[self.number - 1 :: self.count])


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Parse a shard such as ``1/8``.

    Args:
        text: ``i/N``, or empty: the part of this task in an array job of SLURM.
        environment: Environment variables of the process.

    Raises:
        ConfigError: the text is not valid, or there is no array job.
    """
    if text:
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = Shard(int(match[1]), int(match[2])) if match else None
    else:
        try:
            task, first, count = (int(environment[f"SLURM_ARRAY_TASK_{key}"]) for key in ("ID", "MIN", "COUNT"))
            step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
        except (KeyError, ValueError):
            raise ConfigError(
                "`shard` without a value needs an array job of SLURM; give i/N, such as 1/8"
            ) from None
        shard = Shard((task - first) // step + 1, count)
    if shard is None or not 1 <= shard.number <= shard.count:
        raise ConfigError(f"`shard={text or shard}`: give i/N with i from 1 to N, such as 1/8")
    return shard


def shard_ledgers(folder: Path) -> list[Path]:
    """Return the ledgers of shards in an output folder."""
    return sorted(path for path in folder.glob("itk_infer.shard-*.db") if path.is_file())
