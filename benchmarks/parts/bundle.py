"""A bundle of MONAI, run as it is, against MONAI's own command."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from plots import Figure
from process_tree import Ended
from setting import Setting
from tables import median, ratio, spread, table

NAMES = {"monai": "`monai.bundle run`", "ours": "ours, fp32"}
BUNDLE = "monai/ct_organs_dynunet"
IMAGES = ("ct/example_ct_sm.nii.gz", "ct/example_ct.nii.gz")
ROUNDS = 3


def measure(setting: Setting) -> dict[str, Any]:
    bundle, images = setting.data_file(BUNDLE), [setting.data_file(name) for name in IMAGES]
    if bundle is None or None in images:
        return {"skipped": f"A bundle needs `{BUNDLE}` and {', '.join(IMAGES)} in the folder given as `DATA`."}
    folder = setting.scratch / "bundle_images"
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        shutil.copyfile(image, folder / image.name)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    with setting.on(1) as own:
        for number in range(setting.rounds or ROUNDS):
            for name in NAMES:
                rows[name].append(run(own, name, bundle, folder))
            used = {name: round(of[-1]["cpu_seconds"], 1) for name, of in rows.items()}
            print(f"  round {number + 1}, CPU seconds: {used}", flush=True)
    return {"rows": rows, "images": len(images)}


def command(setting: Setting, name: str, bundle: Path, images: Path, out: Path) -> list[object]:
    """The words of a contender's command."""
    configs = bundle / "configs"
    if name == "monai":
        words = [setting.peers, "-m", "monai.bundle", "run", "--config_file", configs / "inference.yaml"]
        words += ["--meta_file", configs / "metadata.json", "--logging_file", configs / "logging.conf"]
        return [*words, "--bundle_root", bundle, "--dataset_dir", images, "--output_dir", out]
    words = [setting.ours, "-m", "itk_infer", "-i", images, "-o", out, "-m", bundle, "--device", "cpu"]
    return [*words, "--precision", "fp32", "--orientation", "input"]


def run(setting: Setting, name: str, bundle: Path, images: Path) -> dict[str, Any]:
    """Run one contender, and compare its label maps with those that MONAI has just written."""
    out = setting.scratch / "out" / "bundle"
    shutil.rmtree(out / name, ignore_errors=True)
    ended: Ended = setting.watch(*command(setting, name, bundle, images, out / name))
    if ended.code:
        raise SystemExit(f"{name} ended with {ended.code}:\n{ended.text[-3000:]}")
    return {
        "seconds": ended.seconds,
        "cpu_seconds": ended.cpu_seconds,
        "peak_mib": ended.peak_mib,
        **compared(out / name, out / "monai"),
    }


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
    rows = found["rows"]
    lines = [
        "## A bundle of MONAI",
        "",
        f"A small DynUNet on {found['images']} abdominal CTs, windows of 48 x 48 x 32 at an overlap of 0.625, by "
        "MONAI's own command and by `itk_infer`, from start to end on one thread. CPU seconds are of all "
        "processes of a command, ratios those within a round, and memory is the sum of proportional set sizes.",
        "",
    ]
    head = ("contender", "CPU seconds", "times fewer", "wall seconds", "peak MiB", "of MONAI's", "differ")
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
    return [*lines, *table(head, cells), "", "`make bench DATA=... ONLY=bundle`"]


def figures(found: dict[str, Any]) -> list[Figure]:
    bars = {NAMES[name].replace("`", ""): median(seen, "cpu_seconds") for name, seen in found["rows"].items()}
    return [Figure("bundle", "a bundle of MONAI", "CPU seconds of the whole command, 1 thread", bars)]
