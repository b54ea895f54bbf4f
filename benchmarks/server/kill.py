"""Jobs of several clients on a server that is killed again and again: each must end once, with the right mask.

    python benchmarks/server/kill.py --jobs 100 --clients 8 --kills 3

A test of the project does the same with fewer jobs. Ends with exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from running import MODEL, free_port, start, wait_ready

from itk_infer import CaseError, Client

SIDES = ("left", "right")
IMAGES = {side: MODEL.with_name(f"mni152_hippocampus_{side}.nii.gz") for side in SIDES}
PATIENCE_S = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kills", type=int, default=3)
    args = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        masks = {side: mask_of_command_line(side, scratch) for side in SIDES}
        wrong = serve_and_kill(args, scratch, masks)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print("\n".join(wrong) or "every job ended once, with the mask of the command line")
    raise SystemExit(1 if wrong else 0)


def mask_of_command_line(side: str, scratch: Path) -> bytes:
    output = scratch / f"{side}.nii.gz"
    words = ["-i", IMAGES[side], "-o", output, "-m", MODEL, "--device", "cpu", "--quiet"]
    words += ["--orientation", "input"]  # as a MONAI Label server has it
    subprocess.run([sys.executable, "-m", "itk_infer", *map(str, words)], check=True)
    return output.read_bytes()


def serve_and_kill(args: argparse.Namespace, scratch: Path, masks: dict[str, bytes]) -> list[str]:
    """What went wrong, in sentences."""
    port, home = free_port(), scratch / "home"
    url, ended, wrong = f"http://127.0.0.1:{port}", Counter[str](), list[str]()
    chance = random.Random(1)

    def work(numbers: range) -> None:
        with Client(url, patience_s=PATIENCE_S) as client:
            for number in numbers:
                side = SIDES[number % 2]
                job = client.submit(IMAGES[side], "hippocampus")
                ends = Counter[str]()
                try:
                    done = client.wait(job["id"], lambda event, ends=ends: ends.update([event["event"]]))
                    mask = client.fetch(done, "mask", scratch / f"{number}.nii.gz").read_bytes()
                except CaseError as error:
                    wrong.append(f"job {number}: {error}")
                    continue
                if mask != masks[side]:
                    wrong.append(f"job {number}: has another mask")
                ended[job["id"]] += 1

    clients = [
        threading.Thread(target=work, args=(range(first, args.jobs, args.clients),))
        for first in range(args.clients)
    ]
    server = start(home, port)
    wait_ready(url)
    for client in clients:
        client.start()
    for kill in range(args.kills):
        goal = (kill + 1) * args.jobs // (args.kills + 1)
        while len(ended) < goal and any(client.is_alive() for client in clients):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.3))
        server.kill()
        server.wait()
        print(f"killed after {len(ended)} jobs", flush=True)
        server = start(home, port)
    for client in clients:
        client.join()
    with Client(url) as client:
        states = Counter(client.job(job_id)["state"] for job_id in ended)
    server.terminate()
    server.wait()
    if len(ended) != args.jobs or states != Counter(done=args.jobs):
        wrong.append(f"{len(ended)} of {args.jobs} jobs ended; states on the server: {dict(states)}")
    if len(list((home / "jobs").iterdir())) != args.jobs:
        wrong.append(f"there are {len(list((home / 'jobs').iterdir()))} folders of jobs")
    return wrong


if __name__ == "__main__":
    main()
