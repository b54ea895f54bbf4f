"""Requests that schemathesis makes of the server's OpenAPI document for some minutes; answers must be as it says.

    pip install schemathesis
    python benchmarks/server/fuzz.py --minutes 10

Its exit code is that of schemathesis, or 1 where the server has ended, or its memory has grown.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from running import MODEL, running

from itk_infer import Client

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
GROWTH_MIB = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--examples", type=int, default=500, help="per operation and pass")
    args = parser.parse_args()
    tool = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}") or shutil.which("schemathesis")
    if tool is None:
        parser.error("schemathesis is not installed: pip install schemathesis")
    scratch = Path(tempfile.mkdtemp())
    try:
        with running(scratch / "home") as (url, process):
            code, passes = fuzz(tool, url, args, scratch, 0), 1
            before, ends = memory_mib(process.pid), time.monotonic() + 60 * args.minutes
            while code == 0 and time.monotonic() < ends:
                code, passes = fuzz(tool, url, args, scratch, passes), passes + 1
            alive = httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
            growth = memory_mib(process.pid) - before
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(
        f"{passes} passes, exit code {code}, alive: {alive}, memory grew by {growth:.0f} MiB after the first pass"
    )
    raise SystemExit(code or (0 if alive and growth < GROWTH_MIB else 1))


def fuzz(tool: str, url: str, args: argparse.Namespace, scratch: Path, seed: int) -> int:
    """One pass; every second one asks for the model and for a job that are there."""
    config = scratch / "schemathesis.toml"
    config.write_text("")
    if seed % 2 == 0:
        with Client(url) as client:
            job = client.wait(
                client.submit(MODEL.with_name("mni152_hippocampus_left.nii.gz"), "hippocampus")["id"]
            )
        known = {"query.model": "hippocampus", "path.job_id": job["id"], "path.name": "mask"}
        config.write_text("[parameters]\n" + "".join(f'"{name}" = "{value}"\n' for name, value in known.items()))
    words = [
        "--config-file",
        config,
        "run",
        f"{url}/v1/openapi.json",
        "--checks",
        CHECKS,
        "--seed",
        seed,
        "--max-examples",
        args.examples,
    ]
    words += ["--phases", "examples,coverage,fuzzing,stateful", "--no-color", "--request-timeout", "60"]
    return subprocess.run([tool, *map(str, words)], cwd=scratch, check=False).returncode


def memory_mib(process: int) -> float:
    """Resident memory of the server, without its workers."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
