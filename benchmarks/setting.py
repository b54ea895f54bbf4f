"""What every part of the bench is told, and how it runs contenders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from process_tree import Ended, run_watched

HERE = Path(__file__).resolve().parent
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One run of the bench.

    Attributes:
        peers: Python of an environment with nnU-Net and MONAI.
        itkit: Python of an environment with itkit, or None.
        data: Folder of images and trained models, or None.
        scratch: Where made work and results of contenders lie.
        threads: Threads of every contender; the bench keeps itself and them to as many cores.
        rounds: Rounds of every part; None: what each part finds right.
        again: Contenders to measure again, where a part can do that; the others keep their figures. Empty: all.
    """

    peers: str
    itkit: str | None
    data: Path | None
    scratch: Path
    threads: int
    rounds: int | None
    again: tuple[str, ...] = ()

    @property
    def ours(self) -> str:
        return sys.executable

    def ask(self, python: str, module: str, *words: object) -> Found:
        """Run a contender that prints one JSON object as its last line."""
        command = [python, "-m", module, *(str(word) for word in words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE, env=self.environment)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        answer: Found = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    def watch(self, *command: object) -> Ended:
        """Run a whole command and watch the memory of all its processes."""
        return run_watched(command, env=self.environment, cwd=HERE)

    @contextmanager
    def on(self, threads: int) -> Iterator[Setting]:
        """The same with so many threads, meanwhile on as many cores."""
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(cores)[:threads])
        try:
            yield replace(self, threads=min(threads, len(cores)))
        finally:
            os.sched_setaffinity(0, cores)

    def data_file(self, name: str) -> Path | None:
        """A file or folder of the data, if it is there."""
        path = self.data / name if self.data else None
        return path if path and path.exists() else None

    @property
    def environment(self) -> dict[str, str]:
        threads = str(self.threads)
        return {
            # Without compiled modules, every start would compile all of torch's again.
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "nnUNet_def_n_proc": threads,
            "PYTHONUNBUFFERED": "1",
        }


def rounds(
    setting: Setting, usual: int, contenders: Sequence[str], run: Callable[[str], Found]
) -> dict[str, list[Found]]:
    """Every contender in turn, round after round; what each found, in the order of the rounds."""
    found: dict[str, list[Found]] = {name: [] for name in contenders}
    count = setting.rounds or usual
    for index in range(count):
        for name in contenders:
            found[name].append(run(name))
        seconds = {name: round(rows[-1]["seconds"], 2) for name, rows in found.items()}
        print(f"  round {index + 1} of {count}, seconds: {seconds}", flush=True)
    return found
