"""Bundles of MONAI, run as they are, against MONAI's own command."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from plots import Figure
from process_tree import Ended
from setting import Setting
from tables import median, ratio, spread, table

NAMES = {"monai": "`monai.bundle run`", "ours": "ours, fp32"}
# By name: the bundle, its config, and what its images are.
WORK = {
    "unet": ("monai/ct_spleen_unet", "inference.json", "large"),
    "dynunet": ("monai/ct_organs_dynunet", "inference.yaml", "large"),
    "small": ("monai/ct_organs_dynunet", "inference.yaml", "small"),
}
TITLES = {
    "unet": "UNet, probabilities return: windows of 64 x 64 x 48, 2 classes, one CT of 458 x 379 x 168 voxels",
    "dynunet": "DynUNet, labels return: windows of 48 x 48 x 32, 6 classes, the same CT",
    "small": "DynUNet, one CT of 122 x 101 x 30 voxels, where starting is most of it",
}
IMAGES = {"large": "ct/example_ct.nii.gz", "small": "ct/example_ct_sm.nii.gz"}
STAGES = ("read", "prepare", "network", "engine", "write")
LARGE_SPACING = (0.8, 0.8, 2.0)  # mm, as of clinical CTs
ROUNDS = 3


def measure(setting: Setting) -> dict[str, Any]:
    needed = sorted({bundle for bundle, _, _ in WORK.values()} | set(IMAGES.values()))
    if any(setting.data_file(name) is None for name in needed):
        return {"skipped": f"Bundles need {', '.join(needed)} in the folder given as `DATA`."}
    folders = {name: images(setting, name) for name in IMAGES}
    found: dict[str, Any] = {name: {"rows": {contender: [] for contender in NAMES}} for name in WORK}
    with setting.on(1) as own:
        for number in range(setting.rounds or ROUNDS):
            for work, (_, _, kind) in WORK.items():
                rows = found[work]["rows"]
                for name in NAMES:
                    rows[name].append(run(own, name, work, folders[kind]))
                used = {name: round(of[-1]["cpu_seconds"], 1) for name, of in rows.items()}
                print(f"  round {number + 1}, {work}, CPU seconds: {used}", flush=True)
        for work, (bundle, _, kind) in WORK.items():
            image = next(folders[kind].iterdir())
            path = setting.data_file(bundle)
            found[work]["network"] = own.ask(own.ours, "contenders.bundle_network", path, image)
            found[work]["memory"] = own.ask(own.ours, "contenders.bundle_memory", path, image)
    return {"work": found}


def images(setting: Setting, kind: str) -> Path:
    """A folder with one image: as it is, or interpolated to the voxels of a clinical CT."""
    import SimpleITK as sitk

    folder = setting.scratch / f"bundle_{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = setting.data_file(IMAGES[kind])
    if kind == "small":
        shutil.copyfile(source, folder / source.name)
        return folder
    image = sitk.ReadImage(str(source))
    pairs = zip(image.GetSize(), image.GetSpacing(), LARGE_SPACING, strict=True)
    size = [round(count * own / wanted) for count, own, wanted in pairs]
    place = (image.GetOrigin(), LARGE_SPACING, image.GetDirection())
    fine = sitk.Resample(image, size, sitk.Transform(), sitk.sitkBSpline, *place, -1024, sitk.sitkInt16)
    sitk.WriteImage(fine, str(folder / "ct_large.nii.gz"))
    return folder


def command(setting: Setting, name: str, work: str, images: Path, out: Path) -> list[object]:
    """The words of a contender's command."""
    bundle = setting.data_file(WORK[work][0])
    configs = bundle / "configs"
    if name == "monai":
        words = [setting.peers, "-m", "monai.bundle", "run", "--config_file", configs / WORK[work][1]]
        words += ["--meta_file", configs / "metadata.json", "--logging_file", configs / "logging.conf"]
        return [*words, "--bundle_root", bundle, "--dataset_dir", images, "--output_dir", out]
    words = [setting.ours, "-m", "itk_infer", "-i", images, "-o", out, "-m", bundle, "--device", "cpu"]
    return [*words, "--precision", "fp32", "--orientation", "input"]


def run(setting: Setting, name: str, work: str, images: Path) -> dict[str, Any]:
    """Run one contender, and compare its label maps with those that MONAI has just written."""
    out = setting.scratch / "out" / f"bundle_{work}"
    shutil.rmtree(out / name, ignore_errors=True)
    ended: Ended = setting.watch(*command(setting, name, work, images, out / name))
    if ended.code:
        raise SystemExit(f"{name} ended with {ended.code}:\n{ended.text[-3000:]}")
    return {
        "seconds": ended.seconds,
        "cpu_seconds": ended.cpu_seconds,
        "peak_mib": ended.peak_mib,
        "stages": stages(out / name) if name == "ours" else {},
        **compared(out / name, out / "monai"),
    }


def stages(folder: Path) -> dict[str, float]:
    """Seconds of each stage of the only case, from our ledger."""
    with contextlib.closing(sqlite3.connect(folder / "itk_infer.db")) as ledger:
        (text,) = ledger.execute("select results from cases").fetchone()
    seconds: dict[str, float] = json.loads(text)["seconds"]
    return seconds


def compared(folder: Path, theirs: Path) -> dict[str, int]:
    """Voxels that have another label than in MONAI's files, and all voxels."""
    import SimpleITK as sitk

    differing = voxels = 0
    for own in sorted(folder.rglob("*.nii.gz")):
        # MONAI adds an ending to the name; of several that begin so, it is the shortest.
        files = theirs.rglob(f"{own.name.removesuffix('.nii.gz')}*.nii.gz")
        file = min(files, key=lambda path: len(path.name))
        one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (own, file))
        differing += int(np.count_nonzero(one != other))
        voxels += other.size
    return {"differing": differing, "voxels": voxels}


def section(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Bundles of MONAI",
        "",
        "By MONAI's own command and by `itk_infer`, from start to end on one thread. CPU seconds are of all "
        "processes of a command, ratios those within a round, and memory is the sum of proportional set sizes.",
        "",
    ]
    head = ("contender", "CPU seconds", "times fewer", "wall seconds", "peak MiB", "of MONAI's", "differ")
    for work, result in found["work"].items():
        rows = result["rows"]
        cells = [
            (
                NAMES[name],
                spread(seen, "cpu_seconds"),
                f"{ratio(rows, 'monai', name, 'cpu_seconds'):.1f}",
                spread(seen, "seconds"),
                f"{median(seen, 'peak_mib'):,.0f}",
                f"{1 / ratio(rows, 'monai', name, 'peak_mib'):.2f}",
                f"{statistics.median(row['differing'] for row in seen):,.0f} of {seen[0]['voxels']:,}",
            )
            for name, seen in rows.items()
        ]
        lines += [f"**{TITLES[work]}**", "", *table(head, cells), ""]
    return [
        *lines,
        *limit(found["work"]),
        "",
        *profile(found["work"]),
        "",
        *memory(found["work"]),
        "",
        *exactness(found["work"]),
        "",
        "`make bench DATA=... ONLY=bundle`",
    ]


def limit(work: dict[str, Any]) -> list[str]:
    """What the networks alone take, and would take at the peak rate."""
    head = (
        "network",
        "windows",
        "GFLOP a window",
        "in torch",
        "in OpenVINO",
        "at the peak",
        "OpenVINO's of the peak",
        "a third of MONAI's",
        "ours",
    )
    cells = []
    for name, result in work.items():
        network, rows = result["network"], result["rows"]
        windows = network["windows"]
        cells.append(
            (
                name,
                f"{windows:,}",
                f"{network['window_gflop']:.2f}",
                f"{network['torch_seconds'] * windows:.1f}",
                f"{network['openvino_seconds'] * windows:.1f}",
                f"{network['window_gflop'] * windows / network['peak_gflops']:.1f}",
                f"{network['window_gflop'] / network['openvino_seconds'] / network['peak_gflops']:.0%}",
                f"{median(rows['monai'], 'cpu_seconds') / 3:.1f}",
                f"{median(rows['ours'], 'cpu_seconds'):.1f}",
            )
        )
    peak = max(result["network"]["peak_gflops"] for result in work.values())
    return [
        "### How near to the limit of bundles",
        "",
        "CPU seconds of the network alone over all windows, by each library, and what its convolutions would take "
        "at OpenVINO's best rate of 3 x 3 x 3 convolutions of 32 channels "
        f"({peak:,.0f} GFLOP/s on one thread), which layers of few channels do not reach; beside them a third of "
        "MONAI's whole command, and our whole command.",
        "",
        *table(head, cells),
    ]


def profile(work: dict[str, Any]) -> list[str]:
    """What our command consists of."""
    cells = []
    for name, result in work.items():
        seen = result["rows"]["ours"]
        inside = [statistics.median(row["stages"].get(stage, 0.0) for row in seen) for stage in STAGES]
        rest = statistics.median(row["seconds"] - sum(row["stages"].values()) for row in seen)
        cells.append((name, *(f"{seconds:.2f}" for seconds in inside), f"{rest:.2f}"))
    return [
        "### What our command consists of",
        "",
        "Wall seconds, the median of the rounds. *Network* includes the first window by NumPy, with which that of "
        "OpenVINO is compared, and compiling; *engine* adds windows up, decides, and brings labels back; the "
        "rest is the start of two processes, loading the model, and the ledger.",
        "",
        *table(("command", *STAGES, "the rest"), cells),
    ]


def memory(work: dict[str, Any]) -> list[str]:
    """What the memory of our worker consists of."""
    parts = list(next(iter(work.values()))["memory"])
    cells = []
    for name, result in work.items():
        found = result["memory"]
        of_parts = (f"{found[part]['anonymous']:.0f} + {found[part]['mapped']:.0f}" for part in parts)
        totals = (sum(part[key] for part in found.values()) for key in ("anonymous", "mapped"))
        cells.append((name, *of_parts, " + ".join(f"{total:.0f}" for total in totals)))
    return [
        "### What our memory consists of",
        "",
        "MiB that each step of a worker adds (less than 0: returns): its own memory + files of libraries that are "
        "mapped into it, of which other processes may share a part. In the tables above, the command comes on "
        "top.",
        "",
        *table(("worker of", *parts, "in all"), cells),
    ]


def exactness(work: dict[str, Any]) -> list[str]:
    """How near the libraries are to float64."""
    cells = []
    for name, result in work.items():
        found = result["network"]["errors"]
        errors = (f"{found[key]:.0e}" for key in ("torch", "plain", "ours"))
        cells.append((name, f"{found['largest']:.1f}", *errors))
    return [
        "### How exact the networks are",
        "",
        "The largest error of the logits in some windows of the image, against the network in float64. OpenVINO "
        "adds up a channel one voxel after the other in float32, which shows in instance normalisation, where it "
        "is not folded into a convolution; we take these sums along one axis after the other.",
        "",
        *table(("network", "largest logit", "torch, as MONAI", "OpenVINO as it is", "OpenVINO, ours"), cells),
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    both = []
    units = {"cpu_seconds": "CPU seconds of the whole command, 1 thread", "peak_mib": "peak memory, MiB"}
    for key, unit in units.items():
        bars = {
            f"{NAMES[name].replace('`', '')}, {work}": median(seen, key)
            for work, result in found["work"].items()
            for name, seen in result["rows"].items()
        }
        both.append(Figure(f"bundle-{key.replace('_', '-')}", "bundles of MONAI", unit, bars))
    return both
