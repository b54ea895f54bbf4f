"""A format may make one image of many files, and be added by one file and one entry."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from itk_infer.run.cases import find_cases
from itk_infer.spec import InputSpec
from itk_infer.volume import formats
from itk_infer.volume.formats import FileGroup, Format


def group(paths):
    """One image per name before the last underscore; its first file is number 0."""
    names: dict[str, list] = {}
    for path in paths:
        names.setdefault(path.stem.rpartition("_")[0], []).append(path)
    for name, files in names.items():
        missing = None if files[0].stem.endswith("_0") else f"{name}_0.slice is missing"
        yield FileGroup(name, files[0], missing)


@pytest.fixture(autouse=True)
def slices(monkeypatch):
    monkeypatch.setitem(sys.modules, f"{formats.__name__}.slices", SimpleNamespace(group=group))
    form = Format((".slice",), "slices:check_header", grouping="slices:group")
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, form))


def test_files_of_one_folder_are_grouped_by_their_format(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("a_0.slice", "a_1.slice", "b_1.slice", "c.nii", "below/a_0.slice"):
        (tmp_path / name).touch()
    cases = find_cases(tmp_path, None, recursive=True, wanted=InputSpec()).cases
    assert [(case.name, [path.name for path in case.paths], case.problem) for case in cases] == [
        ("a.slice", ["a_0.slice"], None),
        ("b.slice", ["b_1.slice"], "b_0.slice is missing"),
        ("below/a.slice", ["a_0.slice"], None),
        ("c.nii", ["c.nii"], None),
    ]


def test_channels_are_images_of_one_case(tmp_path):
    for name in ("x_0000_0.slice", "x_0000_1.slice", "x_0001_0.slice", "x_0001_1.slice"):
        (tmp_path / name).touch()
    (case,) = find_cases(tmp_path, None, recursive=False, wanted=InputSpec(("a", "b"))).cases
    assert (case.name, case.problem) == ("x.slice", None)
    assert [path.name for path in case.paths] == ["x_0000_0.slice", "x_0001_0.slice"]
