"""Large archives: runs that are killed again and again, and what a rerun over half a million files takes.

    python benchmarks/classify_archive.py kill [--images 20000] [--kills 20] [--workers N]
    python benchmarks/classify_archive.py resume [--images 500000]

``kill``: an archive of small pictures is classified once undisturbed, and once more with SIGKILL at random
moments; both databases must be intact and hold the same, and all tables be equal byte by byte.
``resume``: seconds and memory of deciding that nothing is to do. Needs pydicom and onnx.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.classify_files import CLASSIFY, brightness_network, grey_dicom

from itk_infer.classify.database import ResultsDatabase
from itk_infer.classify.plan import make_plan
from itk_infer.classify.settings import ClassifySettings

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = (
    "SELECT f.path, i.frame, i.state, i.pixels_sha256, p.label, p.probability FROM files f "
    "JOIN images i ON i.file = f.id JOIN predictions p ON p.image = i.id "
    "WHERE f.state = 'done' ORDER BY f.path, i.frame, p.label"
)
PER_FOLDER = 100


def kill(images: int, kills: int, workers: int | None, scratch: Path) -> None:
    source = scratch / "in"
    for number in range(images):
        study = f"{number // PER_FOLDER:05d}"
        grey_dicom(source / study / f"{number}.dcm", number % 997 / 1000, number, study=study)
    model = brightness_network(scratch / "m.onnx", CLASSIFY)
    command = [
        sys.executable,
        "-m",
        "itk_infer",
        "classify",
        "-i",
        source,
        "-m",
        model,
        "--quiet",
        "--device",
        "cpu",
    ]
    start = time.perf_counter()
    subprocess.run([*map(str, command), "-o", str(scratch / "once")], check=True, cwd=ROOT)
    whole = time.perf_counter() - start
    print(f"undisturbed: {images} pictures in {whole:.1f} s", flush=True)
    command += ["--num-proc", workers] if workers else []
    chance, left = random.Random(0), []
    for number in range(kills):
        process = subprocess.Popen([*map(str, command), "-o", str(scratch / "killed")], cwd=ROOT)
        done = _count(scratch / "killed")
        wanted = done + chance.randint(1, max(1, (images - done) // (kills - number + 1)))
        while process.poll() is None and _count(scratch / "killed") < wanted:
            time.sleep(chance.uniform(0.01, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        left.append(_count(scratch / "killed"))
        print(f"  kill {number + 1}: {left[-1]} pictures are committed", flush=True)
    last = subprocess.run([*map(str, command), "-o", str(scratch / "killed")], check=False, cwd=ROOT)
    once, after = _everything(scratch / "once"), _everything(scratch / "killed")
    result = {
        "images": images,
        "kills": kills,
        "exit_code": last.returncode,
        "pictures": len(after),
        "equal": once == after,
        "equal tables": _tables(scratch / "once") == _tables(scratch / "killed"),
        "each once": len({row[0] for row in after}) == len(after) == images,
        "grew": left == sorted(left),
    }
    print(json.dumps(result))


def _count(folder: Path) -> int:
    if not (folder / "results.db").is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{folder / 'results.db'}?mode=ro", uri=True, timeout=1)) as db:
            return int(db.execute("SELECT count(*) FROM images").fetchone()[0])
    except sqlite3.Error:  # being written, or half made
        return 0


def _everything(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "results.db")) as db:
        intact = db.execute("PRAGMA integrity_check").fetchone()
        if intact != ("ok",):
            raise SystemExit(f"{folder}: {intact}")
        return db.execute(EVERYTHING).fetchall()


def _tables(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}
    if "images.csv" not in found or "studies.csv" not in found:
        raise SystemExit(f"{folder}: holds no tables")
    return found


def resume(images: int, scratch: Path) -> None:
    source, out = scratch / "in", scratch / "out"
    out.mkdir(parents=True)
    database = ResultsDatabase(out / "results.db")
    database.begin()
    for folder in range(0, images, PER_FOLDER):
        place = source / f"{folder // PER_FOLDER:05d}"
        place.mkdir(parents=True)
        first = place / "0"
        first.write_bytes(b"x" * 100)
        rows = []
        for number in range(PER_FOLDER):
            path = place / str(number)
            if number:
                os.link(first, path)
            about = path.stat()
            stamp = (about.st_size, about.st_mtime_ns, about.st_ino)
            rows.append((folder + number + 1, f"{place.name}/{number}", place.name, *stamp))
        database.db.executemany(
            "INSERT INTO files (id, path, folder, size, mtime_ns, inode, state, model, sha256, study) "
            "VALUES (?, ?, ?, ?, ?, ?, 'done', 1, 'x', 's')",
            rows,
        )
        database.db.executemany(
            "INSERT INTO images (id, file, frame, study, sop, pixels_sha256, state) "
            "VALUES (?, ?, 0, ?, ?, 'p', 'counted')",
            [(row[0], row[0], f"study {row[0] // 15}", f"1.2.{row[0]}") for row in rows],
        )
        database.db.executemany(
            "INSERT INTO predictions VALUES (?, 1, ?, 0.5, 0.0, NULL)",
            [(row[0], k) for row in rows for k in range(2)],
        )
    database.commit()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    plan = make_plan(database, ClassifySettings(source, out), 1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    from itk_infer.classify.pixel_digests import PixelDigests
    from itk_infer.classify.settle import settle

    start = time.process_time()
    database.begin()
    settle(database.db, PixelDigests(source))
    database.commit()
    settled = time.process_time() - start
    print(
        json.dumps(
            {
                "files": plan.files,
                "up to date": plan.up_to_date,
                "seconds": round(wall, 2),
                "cpu": round(cpu, 2),
                "more MiB": round(after - before, 1),
                "copies and conflicts, cpu": round(settled, 2),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kill", "resume"])
    parser.add_argument("--images", type=int)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, help="worker processes of the runs that are killed; default none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.what == "kill":
            kill(options.images or 20000, options.kills, options.workers, Path(scratch))
        else:
            resume(options.images or 500_000, Path(scratch))


if __name__ == "__main__":
    main()
