"""Measures itk_infer on a GPU beside MONAI and the bare network; writes one JSON file.

    python benchmarks/gpu/bench.py --out results/bench.json [--device cuda:0] [--seconds 280] [--small]

``--small`` rehearses everything with a small network and volume, on any device. Parts that no time is left for are
left out, and the file says so.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import platform
import pstats
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import Ours, Setting, bare, monai, reference, variants
from network import window_flop

FULL = Setting("cuda:0", (384, 512, 512), (128, 128, 128), (32, 64, 128, 256, 320, 320))
SMALL = Setting("cpu", (48, 64, 64), (32, 32, 32), (8, 16, 32))
ROUNDS = 2


def main() -> None:
    """Measure what time allows, in the order of interest."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--device", default="cuda:0")
    arguments.add_argument("--seconds", type=float, default=280)
    arguments.add_argument("--small", action="store_true")
    arguments.add_argument("--only", nargs="*", default=["cases", "profile", "variants"])
    arguments.add_argument("--classes", nargs="*", type=int)
    arguments.add_argument("--out", type=Path, required=True)
    asked = arguments.parse_args()
    model = SMALL if asked.small else FULL
    setting = Setting(asked.device, model.size, model.patch, model.features)
    began = time.perf_counter()

    def left() -> float:
        return asked.seconds - (time.perf_counter() - began)

    found: dict[str, Any] = {"machine": machine(setting), "setting": described(setting), "cases": []}

    def save() -> None:
        found["seconds"] = time.perf_counter() - began
        asked.out.write_text(json.dumps(found, indent=1))

    save()
    array = setting.volume()
    classes = asked.classes or ([3, 5] if asked.small else [3, 25, 118])
    batches = found["batches"] = best_batches(setting, array) if "cases" in asked.only else {}
    expected: dict[int, np.ndarray] = {}

    def cases(precision: str) -> None:
        for count in classes if "cases" in asked.only else ():
            if left() < 30:
                found["cases"].append({"classes": count, "precision": precision, "skipped": "no time left"})
                continue
            if count not in expected:
                expected[count] = reference(setting, count, array)
            found["cases"].append(case(setting, array, count, precision, batches, expected[count]))
            print(json.dumps(found["cases"][-1]), flush=True)
            save()

    cases("fp16")
    if "profile" in asked.only and left() > 15:
        found["profile"] = [profile(setting, array, count) for count in (classes[0], classes[-1])]
        save()
    if "variants" in asked.only:
        found["variants"] = {"fp16": variants(setting, classes[0], "fp16", left)}
        print(json.dumps(found["variants"], indent=1), flush=True)
        save()
    cases("bf16")
    save()


def machine(setting: Setting) -> dict[str, Any]:
    """What it was measured on."""
    there: dict[str, Any] = {"device": "CPU", "torch": torch.__version__, "python": platform.python_version()}
    if setting.device != "cpu":
        index = torch.device(setting.device)
        there |= {"device": torch.cuda.get_device_name(index), "cuda": torch.version.cuda}
        there |= {"cudnn": torch.backends.cudnn.version(), "date": time.strftime("%Y-%m-%d")}
    import monai as peer

    return {**there, "monai": peer.__version__}


def described(setting: Setting) -> dict[str, Any]:
    """What was measured."""
    windows = len(setting.origins)
    flop = window_flop(setting.patch, 3, setting.features)
    return {"size": setting.size, "patch": setting.patch, "windows": windows, "tflop": windows * flop / 1e12}


def timed(setting: Setting, run: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds and peak device memory of one run, and what it gave."""
    gc.collect()
    if setting.device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    setting.wait()
    began = time.perf_counter()
    answer = run()
    setting.wait()
    row = {"seconds": time.perf_counter() - began}
    if setting.device != "cpu":
        row["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
        row["reserved_mib"] = torch.cuda.max_memory_reserved() / 2**20
    return row, answer


def best_batches(setting: Setting, array: np.ndarray) -> dict[str, Any]:
    """Windows per call at which MONAI and the bare network are fastest, on one layer of windows."""
    layer = array[: setting.patch[0]].copy()
    found: dict[str, Any] = {}
    for name, make in (("monai", monai), ("bare", bare)):
        seconds = {}
        for batch in (1, 2, 4, 8):
            run = make(setting, 3, "fp16" if setting.device != "cpu" else "fp32", batch)
            run(layer)
            seconds[batch] = timed(setting, lambda: run(layer))[0]["seconds"]  # noqa: B023
        found[name] = min(seconds, key=seconds.__getitem__)
        found[f"{name}_seconds_per_layer"] = seconds
    return found


def case(
    setting: Setting, array: np.ndarray, classes: int, precision: str, batches: dict[str, Any], expected: Any
) -> dict[str, Any]:
    """All contenders in turn, `ROUNDS` times; medians."""
    layer = array[: setting.patch[0]].copy()
    arithmetic = precision if setting.device != "cpu" else "fp32"
    makers: dict[str, Callable[[], Any]] = {
        "itk_infer": lambda: Ours(setting, classes, precision, "auto"),
        "monai": lambda: monai(setting, classes, arithmetic, batches["monai"]),
        "bare": lambda: bare(setting, classes, arithmetic, batches["bare"]),
    }
    row: dict[str, Any] = {"classes": classes, "precision": precision}
    runs, rows = {}, {name: [] for name in makers}
    for name, make in makers.items():
        runs[name] = make()
        runs[name](layer)  # kernels are chosen, batches found
    for _ in range(ROUNDS):
        for name, run in runs.items():
            try:
                one, labels = timed(setting, lambda: run(array))  # noqa: B023
            except Exception as error:
                row[name] = {"failed": str(error).splitlines()[0][:300]}
                continue
            if expected is not None and labels is not None:
                one["agreement"] = float(np.mean(labels == expected))
            del labels
            rows[name].append(one)
    for name, several in rows.items():
        if several:
            row[name] = {key: statistics.median(one[key] for one in several) for key in several[0]}
            row[name]["all_seconds"] = [one["seconds"] for one in several]
    ours = runs["itk_infer"]
    row["itk_infer"] |= {"stages": ours.seconds, "batch": ours.predictor.batch_size, "notes": ours.notes}
    row["itk_infer"]["ran_in"] = ours.predictor.backend.precision
    return row


def profile(setting: Setting, array: np.ndarray, classes: int) -> dict[str, Any]:
    """One case of ours: share of time in which the GPU is busy, and the kernels that take most."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity

    ours = Ours(setting, classes, "fp16", "auto")
    ours(array[: setting.patch[0]].copy())
    watch = cProfile.Profile()
    watch.enable()
    ours(array)
    watch.disable()
    rows = pstats.Stats(watch).stats.items()
    host = [{"function": f"{Path(k[0]).name}:{k[1]} {k[2]}", "seconds": v[2], "calls": v[0]} for k, v in rows]
    host.sort(key=lambda row: -row["seconds"])
    if setting.device == "cpu":
        return {"classes": classes, "skipped": "there is no GPU"}
    setting.wait()
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as watched:
        began = time.perf_counter()
        ours(array)
        setting.wait()
        seconds = time.perf_counter() - began
    spans, kernels = [], {}
    for event in watched.events():
        if event.device_type != DeviceType.CUDA:
            continue
        start, end = event.time_range.start, event.time_range.end
        spans.append((start, end))
        total, count = kernels.get(event.name, (0.0, 0))
        kernels[event.name] = total + (end - start) / 1e3, count + 1
    busy, until = 0.0, 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    most = sorted(kernels.items(), key=lambda item: -item[1][0])[:40]
    kernel_rows = [{"kernel": name[:160], "ms": total, "calls": count} for name, (total, count) in most]
    return {
        "classes": classes,
        "seconds": seconds,
        "busy": busy / 1e6 / seconds,
        "kernels": kernel_rows,
        "host": host[:30],
    }


if __name__ == "__main__":
    main()
