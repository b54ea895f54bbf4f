"""What the server costs beside the command line: uploads, throughput, and how fast its page answers meanwhile.

    python benchmarks/server/load.py                     # prints figures, ratios within each round

Contenders run in turn, round after round. The times of a round vary with what else the machine does; the ratios of
one round do so less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import SimpleITK as sitk
from running import MODEL, running

from itk_infer import Client, InputError

PAGE = ("/", "/page.css", "/page.js", "/canvas.js", "/niivue.umd.js", "/v1/models")


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


# --- uploads ------------------------------------------------------------------------------------------


def uploads(url: str, scratch: Path, rounds: int, mib: int) -> None:
    """Raw body against a form, a copy, and a copy with the guarantee that the server gives.

    The content is no image: it is received to its end, written, and then refused, so that no job follows.
    """
    path = scratch / "large"
    path.write_bytes(np.random.default_rng(1).bytes(mib << 20))
    with httpx.Client(base_url=url, timeout=600, trust_env=False) as client, Client(url) as own:

        def raw() -> None:
            with suppress(InputError):  # it is no image
                own.submit(path, "hippocampus")

        def form() -> None:
            with path.open("rb") as file:
                if client.put("/session/", files={"files": ("a.nii", file)}).status_code != 415:
                    raise SystemExit("the form was not received")

        def copy() -> None:
            subprocess.run(["sh", "-c", f"cp {path} {scratch}/copy && sync {scratch}/copy"], check=True)

        contenders = {
            "cp": lambda: subprocess.run(["cp", path, scratch / "copy"], check=True),
            "cp, then sync": copy,
            "raw body": raw,
            "multipart form": form,
        }
        report(f"upload of {mib} MiB", contenders, rounds, "cp, then sync")


# --- throughput ---------------------------------------------------------------------------------------


def throughput(url: str, scratch: Path, rounds: int, cases: int) -> None:
    """Cases of the command line, from its first to its last, against the same ones sent to the server."""
    source = scratch / "scans"
    source.mkdir()
    rng = np.random.default_rng(2)
    for number in range(cases):
        array = rng.normal(100, 30, (80, 112, 80)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(source / f"{number:02d}.nii.gz"))

    outside: list[float] = []

    def command_line() -> float:
        words = ["-i", source, "-o", scratch / "masks", "-m", MODEL, "--device", "cpu", "--overwrite"]
        words += ["--orientation", "input"]  # as a MONAI Label server has it
        events = spoken(words)
        return seconds_between(events, "case_started", "run_done") + read_seconds(events)

    def server() -> float:
        words = ["submit", url, *sorted(source.iterdir()), "-o", scratch / "served", "--overwrite"]
        events = spoken(words)
        seconds = seconds_between(events, "run_started", "run_done")
        outside.append(1 - case_seconds(events) / seconds)
        return seconds

    found: dict[str, list[float]] = {"command line": [], "server": []}
    for _ in range(rounds):
        found["command line"].append(command_line())
        found["server"].append(server())
    masks = [(scratch / "masks" / path.name).read_bytes() for path in source.iterdir()]
    if masks != [(scratch / "served" / path.name).read_bytes() for path in source.iterdir()]:
        raise SystemExit("the masks differ")
    show(f"{cases} cases; the masks are equal, byte by byte", found, "command line")
    print(f"  on the server, {100 * statistics.median(outside):.1f} % of the time is outside of cases")


def spoken(words: list[object]) -> list[dict]:
    command = [sys.executable, "-m", "itk_infer", *map(str, words), "--progress", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def seconds_between(events: list[dict], first: str, last: str) -> float:
    from datetime import datetime

    times = {name: [event["time"] for event in events if event["event"] == name] for name in (first, last)}
    return (datetime.fromisoformat(times[last][-1]) - datetime.fromisoformat(times[first][0])).total_seconds()


def case_seconds(events: list[dict]) -> float:
    return sum(event["seconds"] for event in events if event["event"] == "case_done")


def read_seconds(events: list[dict]) -> float:
    """Of the first case, which begins for the events once it has been read."""
    return next(event["stages"]["read"] for event in events if event["event"] == "case_done")


# --- the page -----------------------------------------------------------------------------------------


def page(url: str, scratch: Path, loads: int, process: int) -> None:
    """Seconds of all requests that the page makes when it is opened, while cases run without a pause."""
    images = sorted((scratch / "scans").iterdir())
    stop = threading.Event()
    running_now: list[bool] = []

    def keep_busy() -> None:
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
            while not stop.is_set():
                if client.get("/v1/jobs?state=waiting").json()["jobs"]:
                    time.sleep(0.2)
                else:
                    client.post("/v1/jobs?model=hippocampus", content=images[0].read_bytes())

    busy = threading.Thread(target=keep_busy)
    busy.start()
    seconds = []
    with httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
        while not client.get("/v1/jobs?state=running").json()["jobs"]:
            time.sleep(0.05)
        before = cpu_seconds(process)
        for _ in range(loads):
            seconds.append(timed(lambda: [client.get(path).raise_for_status() for path in PAGE]))
            running_now.append(bool(client.get("/v1/jobs?state=running").json()["jobs"]))
            time.sleep(0.05)
        cpu = cpu_seconds(process) - before
    stop.set()
    busy.join()
    ms = sorted(1000 * value for value in seconds)
    print(
        f"page, {loads} loads, a case at work in {sum(running_now)}: median {statistics.median(ms):.0f} ms, "
        f"{ms[int(0.95 * len(ms))]:.0f} ms at 95 %; {1000 * cpu / loads:.0f} ms of the server's CPU time per load"
    )


def cpu_seconds(process: int) -> float:
    """Of a process, without those of its children that still run."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- reports ------------------------------------------------------------------------------------------


def report(title: str, contenders: dict[str, Callable[[], object]], rounds: int, base: str) -> None:
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            found[name].append(timed(call))
    show(title, found, base)


def show(title: str, found: dict[str, list[float]], base: str) -> None:
    print(title)
    for name, values in found.items():
        ratios = [theirs / own for theirs, own in zip(found[base], values, strict=True)]
        print(
            f"  {name}: {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f}), "
            f"{statistics.median(ratios):.2f} times the speed of {base}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--loads", type=int, default=50)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    scratch = Path(tempfile.mkdtemp(dir=Path.cwd()))
    try:
        with running(scratch / "home") as (url, process):
            uploads(url, scratch, args.rounds, args.mib)
            throughput(url, scratch, args.rounds, args.cases)
            page(url, scratch, args.loads, process.pid)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
