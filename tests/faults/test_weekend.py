"""Two hundred real scans, two workers, and seven that go wrong in four ways."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.events import CaseDone, CaseFailed
from itk_infer.executors import in_flight as jobs
from itk_infer.testing.faulty import Clock, marked

TROUBLE = {20: "kill", 90: "kill", 160: "kill", 50: "hang", 70: "raise", 140: "raise", 110: "nan"}
WORDS = {"kill": "SIGKILL", "hang": "`case_timeout`", "raise": "a surprise", "nan": "NaN"}


def scans(batch, shared, count, trouble):
    """`count` files made of the hippocampus scans; those in `trouble` bear its mark."""
    paths = sorted((shared / "hippocampus" / "images").glob("*.nii.gz"))
    images = [sitk.ReadImage(str(path)) for path in paths]
    for index in range(count):
        target = batch.source / f"case_{index:03d}.nii.gz"
        image = images[index % len(images)]
        if index not in trouble:
            target.write_bytes(paths[index % len(images)].read_bytes())
            continue
        array = np.clip(sitk.GetArrayFromImage(image), -30_000, 30_000).astype(np.int16)
        bad = sitk.GetImageFromArray(marked(array, trouble[index]))
        bad.CopyInformation(image)
        sitk.WriteImage(bad, str(target))


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_everything_that_can_be_done_is_done(batch, shared, monkeypatch):
    scans(batch, shared, 200, TROUBLE)
    clock = Clock(monkeypatch, jobs)

    def on_event(event):
        settled = {item.case for item in batch.events if isinstance(item, CaseDone | CaseFailed)}
        if len(settled) == 199:  # all but the one that hangs
            clock.forward(600)

    summary = batch.run(2, timeout=600, on_event=on_event)
    assert (len(summary.done), len(summary.failed), summary.exit_code) == (193, 7, 3)
    for index, fault in TROUBLE.items():
        assert WORDS[fault] in summary.failed[f"case_{index:03d}.nii.gz"]
    assert Counter(batch.states().values()) == {"done": 193, "failed": 7}
    assert len({event.case for event in batch.events if isinstance(event, CaseDone)}) == 193
    assert len(list(batch.output.glob("case_*.nii.gz"))) == 193
    assert not batch.leftovers()
