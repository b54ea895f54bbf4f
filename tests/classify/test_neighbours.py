"""Models that see the pictures before and after one: order, copies, gaps, and what a new slice wakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydicom", reason="pydicom writes the files")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from support.classify_files import answer, brightness_network, grey_dicom

# Three labels: what is seen of the slice before, of the slice, of the slice after.
AROUND: dict[str, Any] = {
    "spec": 1,
    "task": "classify",
    "input": {"channels": [{"slice": -1}, "grey", {"slice": 1}], "size": [8, 8]},
    "output": {"activation": "sigmoid", "labels": ["before", "here", "after"]},
}
SEEN = (
    "SELECT f.path, p.probability FROM predictions p JOIN images i ON i.id = p.image JOIN files f ON f.id = i.file "
    "ORDER BY f.path, p.label"
)


@pytest.fixture
def around(tmp_path: Path) -> Path:
    return brightness_network(tmp_path / "around.onnx", AROUND, shape=("n", 3, 8, 8))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Slices whose names run against their positions; slice at z = k has the brightness k / 10."""
    for k in range(1, 6):
        grey_dicom(tmp_path / f"in/{9 - k}.dcm", k / 10, k)
    return tmp_path / "in"


def seen(rows: Any) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for path, probability in rows(SEEN):
        found.setdefault(path, []).append(probability)
    return found


def close(*shares: float) -> Any:
    return pytest.approx([answer(share) for share in shares], abs=1e-5)


def test_neighbours_are_those_by_position(series: Path, around: Path, run: Any, rows: Any) -> None:
    assert run(series, around).done == 5
    found = seen(rows)
    assert found["8.dcm"] == close(0.1, 0.1, 0.2), "the end is repeated"
    assert found["6.dcm"] == close(0.2, 0.3, 0.4)
    assert found["4.dcm"] == close(0.4, 0.5, 0.5)
    assert run(series, around).up_to_date == 5


def test_a_new_slice_changes_those_beside_it(series: Path, around: Path, run: Any, rows: Any) -> None:
    run(series, around)
    grey_dicom(series / "new.dcm", 0.9, 33, position=(0.0, 0.0, 5.0))  # between those at 4 and 6
    grey_dicom(series / "other.dcm", 0.5, 0, series="another")
    assert run(series, around).done == 7
    found = seen(rows)
    assert found["7.dcm"] == close(0.1, 0.2, 0.9)
    assert found["new.dcm"] == close(0.2, 0.9, 0.3)
    assert found["other.dcm"] == close(0.5, 0.5, 0.5)


def test_a_copy_is_nobodys_neighbour(series: Path, around: Path, run: Any, rows: Any) -> None:
    grey_dicom(series / "a/conflict.dcm", 0.9, 3)
    run(series, around)
    found = seen(rows)
    assert found["6.dcm"] == close(0.2, 0.3, 0.4)
    assert found["7.dcm"] == close(0.1, 0.2, 0.3)
    assert found["a/conflict.dcm"] == close(0.2, 0.9, 0.4)


def test_a_slice_that_cannot_be_read_is_noted_beside_it(series: Path, around: Path, run: Any, rows: Any) -> None:
    content = (series / "6.dcm").read_bytes()
    (series / "6.dcm").write_bytes(content[:-20])
    assert run(series, around).failed == 1
    assert seen(rows)["7.dcm"] == close(0.1, 0.2, 0.4)
    noted = [
        path for (path,) in rows("SELECT path FROM files WHERE note LIKE '%could not be read%' ORDER BY path")
    ]
    assert noted == ["5.dcm", "7.dcm"]


def test_pictures_of_a_folder_are_a_series_by_their_names(
    tmp_path: Path, around: Path, run: Any, rows: Any
) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    for number in (1, 2, 10):
        Image.new("L", (8, 8), number * 20).save(tmp_path / f"in/{number}.png")
    run(tmp_path / "in", around)
    assert seen(rows)["2.png"] == close(20 / 255, 40 / 255, 200 / 255)


def test_frames_of_a_volume_are_neighbours(tmp_path: Path, around: Path, run: Any, rows: Any) -> None:
    import numpy as np
    import SimpleITK as sitk

    (tmp_path / "in").mkdir()
    values = np.stack([np.full((8, 8), k * 25.5, np.float32) for k in range(3)])
    values[:, 0, 0], values[:, 0, 1] = 0, 255
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "in/a.mha"))
    run(tmp_path / "in", around)
    probabilities = [value for _, value in rows(SEEN)]
    assert len(probabilities) == 9
    assert probabilities[3] == pytest.approx(probabilities[1])
    assert probabilities[5] == pytest.approx(probabilities[7])
