"""The n-th input or output fails, for n = 1, 2, 3 ... until the run does not notice any more."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sqlite3
from itertools import count

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError
from itk_infer.run.ledger import Ledger


class Faults:
    """Fails call number `at`, and if it is `lasting` every later one, of all that it was put around."""

    def __init__(self, at: int, lasting: bool, folder) -> None:
        self.at, self.lasting, self.calls, self.failed = at, lasting, 0, 0
        self.folder = str(folder)

    def due(self) -> bool:
        self.calls += 1
        due = self.calls >= self.at if self.lasting else self.calls == self.at
        self.failed += due
        return due

    def around(self, function, which=0):
        def faulty(*args, **kwargs):
            if (which is None or str(args[which]).startswith(self.folder)) and self.due():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*args, **kwargs)

        return faulty

    def around_ledger(self, function):
        def faulty(*args, **kwargs):
            if self.due():
                raise sqlite3.OperationalError("database or disk is full")
            return function(*args, **kwargs)

        return faulty

    def install(self, patch) -> None:
        for module, name, which in (
            (io, "open", 0),
            (os, "replace", 0),
            (os, "mkdir", 0),
            (os, "fsync", None),
            (sitk, "WriteImage", 1),
        ):
            patch.setattr(module, name, self.around(getattr(module, name), which))
        for name in ("begin_run", "enqueue", "start", "finish", "settle", "record_output", "end_run"):
            patch.setattr(Ledger, name, self.around_ledger(getattr(Ledger, name)))


@pytest.mark.parametrize("logits", [False, True], ids=["masks", "masks and logits"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
def test_whatever_fails_no_file_is_false_and_no_case_is_lost(new_batch, monkeypatch, lasting, logits):
    # Three formats; with logits, whose files make many more places to fail, two.
    names = ["a.nii.gz", "b.mha", "c.nrrd"][: 2 if logits else 3]
    for at in count(1):
        batch = new_batch(f"{at}")
        arrays = {name: batch.scan(name, seed=index) for index, name in enumerate(names)}
        faults = Faults(at, lasting, batch.folder)
        summary = None
        with monkeypatch.context() as patch:
            faults.install(patch)
            # The folder or its ledger cannot be used: said in a sentence.
            with contextlib.suppress(ConfigError):
                summary = batch.run(0, save_logits=logits)
        # 6.1: what bears its final name is complete.
        for name, array in arrays.items():
            if (batch.output / name).exists():
                np.testing.assert_array_equal(batch.labels(name), array > 0, err_msg=f"fault {at}")
        # 6.2: every case is accounted for.
        if summary is not None:
            settled = [*summary.done, *summary.failed]
            assert sorted(settled) == names, f"fault {at}"
            assert summary.exit_code == (0 if not summary.failed else 3 if summary.done else 4)
            assert batch.states() == {name: "failed" if name in summary.failed else "done" for name in names}
        # And the next run, on a healthy disk, does the rest.
        summary = batch.run(0, save_logits=logits)
        assert summary.exit_code == 0, f"fault {at}: {summary.failed}"
        assert set(batch.states().values()) == {"done"}, f"fault {at}: {summary.skipped}"
        for name, array in arrays.items():
            np.testing.assert_array_equal(batch.labels(name), array > 0, err_msg=f"fault {at}")
        assert not batch.leftovers(), f"fault {at}"
        if not faults.failed:
            break
    assert at > 30  # the faults did reach the run
