"""Two tables of the part about nnU-Net: how near to the limit of the processor, and what the memory is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from setting import Setting
from tables import Rounds, median, table

NAMES = {"nnunet": "nnU-Net 2.8.1, torch", "ours": "ours, OpenVINO fp32", "ours-bf16": "ours, OpenVINO bf16"}
FLAGS = ("avx512_bf16", "amx_bf16")  # without either, bf16 is not computed faster than fp32


def measure_limit(setting: Setting, model: Path, images: Path) -> Rounds:
    """Once, with one thread: rates in CPU seconds vary little."""
    flags = Path("/proc/cpuinfo").read_text()
    found: Rounds = {}
    image = min(images.glob("*.nii.gz"))
    with setting.on(1) as own:
        for name in NAMES:
            if name != "ours-bf16" or any(flag in flags for flag in FLAGS):
                python = own.peers if name == "nnunet" else own.ours
                found[name] = [own.ask(python, "contenders.nnunet_limit", model, image, name, 1)]
                print(f"  the limit, {name}", flush=True)
    return found


def limit(found: Rounds, usual: Rounds) -> list[str]:
    """How near to the limit.

    Args:
        found: Of `measure_limit`.
        usual: The whole commands on the same work.
    """
    first = found["nnunet"][0]
    work = first["window_gflop"] * first["windows"]
    theirs = median(usual["nnunet"], "cpu_seconds")
    rows = []
    for name, (seen,) in found.items():
        at_peak = work / seen["peak_gflops"]
        rows.append((NAMES[name], *_rates(seen), f"{at_peak:.1f}", f"{theirs / at_peak:.1f}"))
    head = (
        *("contender", "peak GFLOP/s", "network alone", "of peak", "engine", "of peak", "overhead", "ms a window"),
        *("windows at peak, s", "times fewer, at most"),
    )
    return [
        "### How near to the limit",
        "",
        "The network of usual size, with one thread; seconds are CPU seconds. Convolutions of one window take "
        f"{first['window_gflop']:,.1f} GFLOP (two a multiply-add), those of all {first['windows']} windows "
        f"{work:,.0f}. The peak is the best rate, in the same runtime, process and threads, of 3 x 3 x 3 "
        "convolutions of 32 to 32 channels over 64 x 64 x 64 voxels, one or six in a row. *Engine* is nnU-Net's "
        "sliding window, from the normalised image to logits; ours is the whole case, from the file to the "
        "label map. *Overhead* is engine time outside the network, as a share of the time inside it, and for a "
        "window. The last two columns are the limit: what the convolutions of all windows take at the peak, and "
        f"how many times fewer CPU seconds than the {theirs:.1f} of nnU-Net's whole command that is. A whole "
        "command of ours stays below this limit, because it also starts, normalises, and runs the first window by "
        "NumPy, too, to compare.",
        "",
        *table(head, rows),
        "",
    ]


def _rates(seen: dict[str, Any]) -> tuple[str, ...]:
    peak, window = seen["peak_gflops"], seen["window_gflop"]
    bare = window / seen["bare"]
    alone = (f"{peak:,.0f}", f"{bare:,.0f}", f"{bare / peak:.0%}")
    if "engine" not in seen:
        return (*alone, "", "", "", "")
    whole, outside = window * seen["windows"] / seen["engine"], seen["engine"] - seen["network"]
    return (
        *alone,
        f"{whole:,.0f}",
        f"{whole / peak:.0%}",
        f"{outside / seen['network']:.1%}",
        f"{outside / seen['windows'] * 1e3:.0f}",
    )


def measure_memory(setting: Setting, works: dict[str, tuple[Path, Path]]) -> Rounds:
    """Stages of each work, by its name: model and folder of images."""
    found: Rounds = {}
    with setting.on(1) as own:
        for name, (model, images) in works.items():
            found[name] = own.ask(own.ours, "contenders.nnunet_memory", model, images, 1)["stages"]
            print(f"  memory, {name}", flush=True)
    return found


def memory(found: Rounds, works: dict[str, Rounds], titles: dict[str, str]) -> list[str]:
    """What the memory is made of.

    Args:
        found: Of `measure_memory`.
        works: The whole commands, by the same names.
        titles: Of the works.
    """
    names = list(found)
    head = ["stage", *(part for name in names for part in (titles[name], "at most"))]
    rows: list[list[str]] = []
    for stage in range(len(found[names[0]])):
        cells = [found[names[0]][stage]["name"]]
        for name in names:
            seen = found[name][stage]
            cells += [f"{seen['after']:,.0f}", f"{seen['peak']:,.0f}"]
        rows.append(cells)
    quarter = ["a quarter of nnU-Net's"]
    floor = ["libraries alone, before the weights"]
    for name in names:
        quarter += ["", f"{median(works[name]['nnunet'], 'peak_mib') / 4:,.0f}"]
        floor += ["", f"{found[name][2]['after']:,.0f}"]
    return [
        "### What the memory is made of",
        "",
        "Resident MiB of one process that does what a worker does, one fold, one thread, no mirroring: after each "
        "stage, and at most during it. The command's own process and Python's helper beside it, about 25 MiB "
        "together, come on top; the table above counts pages that they share once. Torch is not imported: the "
        "checkpoint is mapped to memory, the network is built for OpenVINO, and NumPy answers the first window, "
        "too, for comparison. OpenVINO keeps a copy of the weights in the order that its convolutions read; the "
        "pages of the file are returned to the system after that. The rest is activations, of a plain U-Net "
        "three times the features of the finest stage: the skip, the enlarged result, and their convolution.",
        "",
        *table(head, [*rows, floor, quarter]),
        "",
    ]
