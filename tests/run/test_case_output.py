"""An output that is one class and one line of the table: planned, written, recorded, resumed like all others."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itk_infer.events import Warned
from itk_infer.files.commit import write_bytes
from itk_infer.outputs.output_kind import OutputKind
from itk_infer.outputs.registry import OUTPUTS
from itk_infer.run.ledger import Ledger


class Count:
    """The number of voxels that bear a label, as text."""

    def __init__(self, path: Path, header) -> None:
        self._path = path

    def commit(self, case) -> Path:
        text = str(np.count_nonzero(case.labels))
        write_bytes(text.encode(), self._path, track=case.header.track)
        return self._path

    def abort(self) -> None:
        pass


@pytest.fixture(autouse=True)
def count(monkeypatch):
    kind = OutputKind(
        "count", "case", f"{__name__}:Count", "count", ".count.txt", ("--save-count",), "Also a count."
    )
    monkeypatch.setitem(OUTPUTS, "count", kind)


def warnings(folder):
    return [event.message for event in folder.of(Warned)]


def test_it_is_written_recorded_and_known_again(folder):
    array = folder.scan("a.mha")
    assert folder.run(save=("count",)).done == ["a.mha"]
    assert (folder.output / "a.count.txt").read_text() == str(np.count_nonzero(array > 0))
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        assert {path: output.kind for path, output in ledger.outputs().items()} == {
            "a.count.txt": "count",
            "a.mha": "labels",
            "labels.csv": "derived",
        }
    assert folder.run(save=("count",)).skipped == {"a.mha": "already done"}
    assert not [path for path in folder.names() if path.startswith(".")]


def test_a_missing_one_is_filled_in_and_leaves_the_label_map_alone(folder):
    folder.scan("a.mha")
    folder.run()
    before = (folder.output / "a.mha").stat().st_mtime_ns
    assert folder.run(save=("count", "logits")).done == ["a.mha"]
    assert warnings(folder) == ["a.mha: computed again: its logits and count were missing"]
    assert (folder.output / "a.mha").stat().st_mtime_ns == before


def test_one_that_is_not_asked_for_stays_and_is_named(folder):
    folder.scan("a.mha")
    folder.run(save=("count",))
    folder.run(overwrite=True)
    path = folder.output / "a.count.txt"
    assert warnings(folder) == [f"a.mha: {path} stays as an earlier run left it; --save-count renews it"]


def test_one_that_another_program_changed_is_kept(folder):
    folder.scan("a.mha")
    folder.run(save=("count",))
    (folder.output / "a.count.txt").write_text("mine")
    assert folder.run(save=("count",)).skipped["a.mha"].startswith(f"kept {folder.output / 'a.count.txt'}: ")
    assert (folder.output / "a.count.txt").read_text() == "mine"
