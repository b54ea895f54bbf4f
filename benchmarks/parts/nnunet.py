"""Model folders of nnU-Net, run as they are, against nnU-Net's own command."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from folders import first_window, told
from plots import Figure
from process_tree import Ended
from setting import Setting
from tables import median, ratio, spread, table

from parts import nnunet_profile

NAMES = {"nnunet": "nnU-Net 2.8.1", "ours": "ours, fp32", "ours-bf16": "ours, `--precision bf16`"}
FULLRES = "models/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"
CASES = "images/Dataset004_Hippocampus"
HEAD = "meshnet_gwm/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


@dataclass(frozen=True, slots=True)
class Work:
    """What all contenders do.

    Attributes:
        title: In the page.
        rounds: How often.
        threads: Of each contender.
        folds: Of the model.
        mirrored: Whether windows are mirrored, along all three axes.
    """

    title: str
    rounds: int
    threads: int = 1
    folds: tuple[str, ...] = ("0",)
    mirrored: bool = False


WORKS = {
    "folder": Work("four hippocampi, two folds", 3, folds=("0", "1")),
    "folder-2": Work("four hippocampi, two folds, 2 threads", 3, threads=2, folds=("0", "1")),
    "mirrored": Work("four hippocampi, two folds, mirrored", 1, folds=("0", "1"), mirrored=True),
    "head": Work("a whole head, one fold", 1),
    "usual": Work("a network of usual size, 8 windows", 1),
}


def measure(setting: Setting) -> dict[str, Any]:
    data, head = setting.data_file("nnunet"), setting.data_file(HEAD)
    if data is None or head is None:
        return {"skipped": f"Model folders of nnU-Net need `nnunet/` and `{HEAD}` in the folder given as `DATA`."}
    usual, alone = setting.scratch / "nnunet_usual", setting.scratch / "nnunet_head"
    setting.ask(setting.peers, "contenders.nnunet_workload", usual)
    alone.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(head, alone / "mni152_0000.nii.gz")
    places = {"head": (data / FULLRES, alone), "usual": (usual / "model", usual / "images")}
    found: dict[str, Any] = {}
    for key, work in WORKS.items():
        model, images = places.get(key, (data / FULLRES, data / CASES))
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
        with setting.on(work.threads) as own:
            for number in range(setting.rounds or work.rounds):
                for name in NAMES:
                    rows[name].append(run(own, name, key, model, images))
                used = {name: round(of[-1]["cpu_seconds"], 1) for name, of in rows.items()}
                print(f"  {key}, round {number + 1}, CPU seconds: {used}", flush=True)
        found[key] = rows
    own = {"folder": (data / FULLRES, data / CASES), "usual": places["usual"]}
    return {
        "works": found,
        "limit": nnunet_profile.measure_limit(setting, *places["usual"]),
        "memory": nnunet_profile.measure_memory(setting, own),
        "commands": {name: printable(name) for name in NAMES},
    }


def command(setting: Setting, name: str, work: Work, model: Path, images: Path, out: Path) -> list[object]:
    """The words of a contender's command."""
    if name == "nnunet":
        script = Path(setting.peers).with_name("nnUNetv2_predict_from_modelfolder")
        words = [setting.peers, script, "-i", images, "-o", out, "-m", model, "-f", *work.folds, "-device", "cpu"]
        return [*words, "-npp", "1", "-nps", "1", *([] if work.mirrored else ["--disable_tta"])]
    words = [
        setting.ours,
        "-m",
        "itk_infer",
        "-i",
        images,
        "-o",
        out,
        "-m",
        model,
        "--folds",
        ",".join(work.folds),
    ]
    words += ["--device", "cpu", "--orientation", "input", "--progress", "json"]
    words += [] if work.mirrored else ["--no-tta"]
    return [*words, *(["--precision", "bf16"] if name == "ours-bf16" else [])]


def printable(name: str) -> str:
    """The command as a person would type it."""
    setting = Setting("PEERS/python", None, None, Path(), 1, None)
    words = command(setting, name, WORKS["folder"], Path("MODEL"), Path("IN"), Path("OUT"))
    text = " ".join(map(str, words)).replace(f"{setting.ours} -m itk_infer", "itk_infer")
    return text.replace("PEERS/python PEERS/", "")


def run(setting: Setting, name: str, key: str, model: Path, images: Path) -> dict[str, Any]:
    """Run one contender, and compare its label maps with those that nnU-Net has just written."""
    out = setting.scratch / "out" / f"nnunet-{key}"
    shutil.rmtree(out / name, ignore_errors=True)
    ended: Ended = setting.watch(*command(setting, name, WORKS[key], model, images, out / name))
    if ended.code:
        raise SystemExit(f"{name} ended with {ended.code}:\n{ended.text[-3000:]}")
    return {
        "seconds": ended.seconds,
        "cpu_seconds": ended.cpu_seconds,
        "peak_mib": ended.peak_mib,
        "first_window": ended.first(first_window),
        **told(ended),
        **compared(out / name, out / "nnunet"),
    }


def compared(folder: Path, theirs: Path) -> dict[str, int]:
    """Voxels that have another label than in nnU-Net's files, and those that it gives a label."""
    import SimpleITK as sitk

    differing = foreground = 0
    files = sorted(theirs.glob("*.nii.gz"))
    for file in files:
        of_case = folder / file.name
        one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (of_case, file))
        differing += int(np.count_nonzero(one != other))
        foreground += int(np.count_nonzero(other))
    return {"differing": differing, "foreground": foreground, "files": len(files)}


def section(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Model folders of nnU-Net",
        "",
        "Folders that nnU-Net trained, run by its own command and by `itk_infer`, from start to end. A "
        "machine that others use at the same time lengthens wall time at random; CPU seconds are of all "
        "processes of a command, and ratios are those within a round. nnU-Net runs with one process each "
        "for preparing and exporting, which needs the fewest seconds and the least memory. Memory is the "
        "sum of proportional set sizes of all processes. *Differ*: voxels with another label than in the "
        "files that nnU-Net wrote, of those that have a label there. nnU-Net sums in half precision, so a "
        "few differ at borders of labels; bf16 adds its own. The network of usual size (32, 64, 128, 256, "
        "320 features; windows of 64 x 96 x 96) has random weights: of its labels, nothing follows.",
        "",
    ]
    head = ("work", "contender", "CPU seconds", "times fewer", "wall seconds", "first window after")
    rows = []
    for key, works in found["works"].items():
        for name, seen in works.items():
            rows.append(
                (
                    WORKS[key].title if name == "nnunet" else "",
                    NAMES[name],
                    spread(seen, "cpu_seconds"),
                    f"{ratio(works, 'nnunet', name, 'cpu_seconds'):.1f}",
                    spread(seen, "seconds"),
                    f"{median(seen, 'first_window'):.1f}",
                    f"{ratio(works, 'nnunet', name, 'first_window'):.1f}",
                    f"{median(seen, 'peak_mib'):,.0f}",
                    f"{1 / ratio(works, 'nnunet', name, 'peak_mib'):.2f}",
                    f"{statistics.median(row['differing'] for row in seen):,.0f} of {seen[0]['foreground']:,}",
                )
            )
    lines += [*table((*head, "times sooner", "peak MiB", "of nnU-Net's", "differ"), rows), ""]
    lines += [found["note"], ""] if "note" in found else []
    for key, works in found["works"].items():
        for name, seen in works.items():
            said = sorted({line for row in seen for line in row.get("warnings", ())})
            lines += [f"* {WORKS[key].title}, {NAMES[name]} says: {line}" for line in said]
    lines += ["", "```text", *found["commands"].values(), "```", ""]
    if "limit" in found:  # measured since this part has these tables
        lines += nnunet_profile.limit(found["limit"], found["works"]["usual"])
        titles = {key: work.title for key, work in WORKS.items()}
        lines += nnunet_profile.memory(found["memory"], found["works"], titles)
    return [*lines, "`make bench DATA=... ONLY=nnunet`"]


def figures(found: dict[str, Any]) -> list[Figure]:
    drawn = []
    for key in ("folder", "mirrored", "head"):
        if key in found["works"]:
            works = found["works"][key]
            bars = {NAMES[name].replace("`", ""): median(seen, "cpu_seconds") for name, seen in works.items()}
            drawn.append(
                Figure(f"nnunet-{key}", WORKS[key].title, "CPU seconds of the whole command, 1 thread", bars)
            )
    return drawn
