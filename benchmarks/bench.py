"""All benchmarks: contenders in turn, round after round, in processes and environments of their own.

    make bench                                             # environments, all parts, page and plots
    make bench ONLY=engine,export ROUNDS=5 DATA=../data    # some parts; the page keeps the others
    python benchmarks/bench.py --page-only                 # only write the page again

Writes ``benchmarks/results.json`` (every single figure), ``docs/performance.md`` and its plots.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import machine
import page
from parts import PARTS, depth
from setting import HERE, Setting

RESULTS = HERE / "results.json"


def main() -> None:
    args = parse()
    results = read()
    if not args.page_only:
        cores = sorted(os.sched_getaffinity(0))[: args.threads]
        os.sched_setaffinity(0, cores)  # every contender inherits it
        setting = Setting(
            absolute(args.peers),
            absolute(args.itkit),
            args.data,
            args.scratch,
            len(cores),
            args.rounds,
            tuple(args.again.split(",")) if args.again else (),
        )
        described = machine.describe(setting)
        for name in args.only:
            print(name, flush=True)
            start = time.perf_counter()
            kept = results.get(name, {}).get("found")
            found = depth.measure(setting, kept) if name == "depth" else PARTS[name].measure(setting)
            took = round(time.perf_counter() - start)
            results = read() | {name: {"machine": described, "minutes": round(took / 60, 1), "found": found}}
            RESULTS.write_text(json.dumps(results, indent=1))
            print(f"  {took} s", flush=True)
    page.write(results, HERE.parent / "docs", args.peers)


def read() -> dict[str, Any]:
    """What was measured so far, by this run or others."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def absolute(python: str | None) -> str | None:
    """Without following links: an environment's Python is one."""
    return python and (os.path.abspath(python) if os.sep in python else python)  # noqa: PTH100


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", required=True, help="Python of an environment with nnunetv2, monai, matplotlib")
    parser.add_argument("--itkit", help="Python of an environment with itkit")
    parser.add_argument("--data", type=Path, help="folder with ct/, hippocampus/, demo/ and meshnet_gwm/")
    parser.add_argument("--scratch", type=Path, default=HERE / "scratch")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, help="of every part; default: what each finds right")
    parser.add_argument("--again", help="of the part depth: measure only these, as ours; keep the others")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    args = parser.parse_args()
    args.only = [name for name in args.only.split(",") if name]
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    if args.itkit and not Path(args.itkit).with_name("itk_infer").exists():
        args.itkit = None  # it could not be installed
    args.data = args.data.resolve() if args.data and args.data.is_dir() else None
    return args


if __name__ == "__main__":
    main()
