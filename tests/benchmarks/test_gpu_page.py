"""The page about a GPU, and the arithmetic that it quotes."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

KIT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"


def load(name):
    found = importlib.util.spec_from_file_location(f"gpu_kit_{name}", KIT / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def contender(seconds, **more):
    return {"all_seconds": seconds, "peak_mib": 2048.0, **more}


def test_the_page_quotes_the_faster_round_and_its_ratios():
    row = {"classes": 3, "precision": "fp16", "bare": contender([2.0, 1.5])}
    row |= {"itk_infer": contender([3.0, 4.0], agreement=0.5), "monai": contender([6.0, 9.0])}
    skipped = {"classes": 118, "precision": "bf16", "skipped": "no time left"}
    found = {
        "machine": {"device": "X1", "torch": "2", "monai": "1"},
        "setting": {"size": [4, 5, 6], "patch": [2, 2, 2], "windows": 7, "tflop": 8.0},
        "cases": [row, skipped, {**row, "monai": {"failed": "out of memory"}}],
        "variants": {"fp16": {"compiled": {"skipped": "no time left"}}},
    }
    page = load("page").page(found)
    assert "| 3 | fp16 | 3.00 s | 6.00 s | 1.50 s | 0.50 | 2.00 | 2.0 GiB | 2.0 GiB | 0.5000 |" in page
    assert "| 3 | fp16 | 3.00 s | failed | 1.50 s | - |" in page
    assert "118" not in page
    assert "| compiled | no time left | |" in page


def test_operations_of_a_window_are_those_counted_by_hand():
    pytest.importorskip("mmengine")
    from itk_infer.model.kinds.mmengine_network import quiet_imports

    with quiet_imports():
        network = load("network")
    # Two stages of 2 and 4 channels on 4x4x4: convolutions 1->2 and 2->2, then 2->4 (stride 2) and 4->4 on 2x2x2, up 4->2,
    # then 4->2 and 2->2, and the head 2->3.
    full, half = 64, 8
    macs = full * 27 * (1 * 2 + 2 * 2) + half * 27 * (2 * 4 + 4 * 4)
    macs += half * 4 * 2 * 8 + full * 27 * (4 * 2 + 2 * 2) + full * 2 * 3
    assert math.isclose(network.window_flop((4, 4, 4), 3, (2, 4)), 2 * macs)
