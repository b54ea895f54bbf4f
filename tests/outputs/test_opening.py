"""Outputs that take the finished label map, whatever else of the case is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.made_up import make_frame

from itk_infer.errors import OutputError
from itk_infer.outputs.opening import open_outputs
from itk_infer.outputs.output_kind import OutputKind
from itk_infer.outputs.registry import OUTPUTS
from itk_infer.volume.slab import DecidedSlab

LABELS = np.random.default_rng(0).integers(0, 3, (9, 6, 7)).astype(np.uint8)
MASKS = np.stack([LABELS == 1, LABELS == 2])


class Kept:
    """Saves the label map as NumPy does."""

    def __init__(self, path: Path, header) -> None:
        self._path = path

    def commit(self, case) -> Path:
        np.save(self._path, case.labels)
        return self._path

    def abort(self) -> None:
        self._path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    monkeypatch.setitem(OUTPUTS, "kept", OutputKind("kept", "case", f"{__name__}:Kept", "copy", ".npy"))


def commit(sinks) -> list[str]:
    sinks_slab = DecidedSlab(0, LABELS[:5], MASKS[:, :5]), DecidedSlab(5, LABELS[5:], MASKS[:, 5:])
    for slab in sinks_slab:
        for sink in sinks:
            sink.write(slab)
    return [path.name for sink in sinks if (path := sink.commit()) is not None]


@pytest.mark.parametrize("beside", ["nothing", "a label map", "layers"])
def test_it_is_given_the_labels_as_the_file_has_them(tmp_path, beside) -> None:
    header = replace(make_frame(code="RAI"), overlaps=True)
    commit(open_outputs([("labels", tmp_path / "expected.mha")], header))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "expected.mha")))
    path = {"nothing": None, "a label map": tmp_path / "a.mha", "layers": tmp_path / "a.seg.nrrd"}[beside]
    wanted = [("kept", tmp_path / "a.npy"), *([("labels", path)] if path else [])]
    assert commit(open_outputs(wanted, header)) == [path.name for _, path in wanted]
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)


def test_one_that_cannot_be_begun_takes_back_the_others(tmp_path) -> None:
    (tmp_path / "file").touch()
    wanted = [("logits", tmp_path / "a.zarr"), ("logits", tmp_path / "file" / "b.zarr")]
    with pytest.raises(OutputError):
        open_outputs(wanted, make_frame())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
