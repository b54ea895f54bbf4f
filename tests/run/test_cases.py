"""Which files are cases, and what is wrong with the others."""

from __future__ import annotations

import os
import re
import sys

import nibabel as nib
import numpy as np
import pytest

from itk_infer.errors import ConfigError, NoInputError
from itk_infer.executors.reading import read_case, reading_memory
from itk_infer.run.cases import find_cases
from itk_infer.spec import InputSpec


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def find(folder, *, recursive=False, channels=1, output=None):
    return find_cases(
        folder, output or folder / "out", recursive=recursive, wanted=InputSpec(("",) * channels)
    ).cases


def test_known_suffixes_in_any_case_sorted(tmp_path):
    make(
        tmp_path,
        "b.nii",
        "a.NII.GZ",
        "c.mha",
        "d.mhd",
        "e.nrrd",
        "f.nhdr",
        "g.txt",
        "h.img",
        ".hidden.nii",
        "i[1].mha",
    )
    cases = find(tmp_path)
    assert [case.name for case in cases] == sorted(
        ["a.nii.gz", "b.nii", "c.mha", "d.mhd", "e.nrrd", "f.nhdr", "i[1].mha"]
    )
    assert all(case.problem is None for case in cases)


def test_recursion_keeps_sub_folders_and_skips_the_output(tmp_path):
    make(tmp_path, "a.nii", "x/a.nii", "x/y/b.mha", "out/a.nii")
    assert [case.name for case in find(tmp_path)] == ["a.nii"]
    assert [case.name for case in find(tmp_path, recursive=True)] == ["a.nii", "x/a.nii", "x/y/b.mha"]


def test_a_loop_of_links_ends(tmp_path):
    make(tmp_path, "x/a.nii")
    (tmp_path / "x" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [case.name for case in find(tmp_path, recursive=True)] == ["x/a.nii"]


def test_one_file(tmp_path):
    make(tmp_path, "a.nii.gz", "b.nii.gz")
    assert [case.name for case in find(tmp_path / "b.nii.gz")] == ["b.nii.gz"]


def test_names_that_would_write_the_same_files(tmp_path):
    make(tmp_path, "a.nii", "a.nii.gz", "B.mha", "b.nrrd", "c.mha")
    problems = {case.name: case.problem for case in find(tmp_path)}
    assert "same outputs as a.nii.gz" in problems["a.nii"]
    assert "same outputs as a.nii" in problems["a.nii.gz"]
    assert "same outputs as b.nrrd" in problems["B.mha"]
    assert problems["c.mha"] is None


def test_channels_are_grouped(tmp_path):
    make(tmp_path, "p_0000.nii", "p_0001.nii", "q_0000.nii", "r_0000.nii", "r_0001.nii", "r_0002.nii", "s.nii")
    cases = {case.name: case for case in find(tmp_path, channels=2)}
    assert [path.name for path in cases["p.nii"].paths] == ["p_0000.nii", "p_0001.nii"]
    assert cases["p.nii"].problem is None
    assert "q_0001 is missing" in cases["q.nii"].problem
    assert "one channel too many" in cases["r.nii"].problem
    assert "name the files s_0000.nii" in cases["s.nii"].problem


def test_a_channel_that_is_there_twice_fails_the_whole_case(tmp_path):
    make(tmp_path, "d_0000.mha", "d_0000.nii.gz", "d_0001.nii.gz")
    (case,) = find(tmp_path, channels=2)
    assert "channel 0 exists twice" in case.problem


def test_one_channel_keeps_its_number_in_the_name(tmp_path):
    make(tmp_path, "p_0000.nii")
    assert [case.stem for case in find(tmp_path)] == ["p_0000"]


def test_one_file_of_several_channels_brings_its_siblings(tmp_path):
    make(tmp_path, "p_0000.nii", "p_0001.nii", "p_0001.txt", "q_0000.nii")
    (case,) = find(tmp_path / "p_0000.nii", channels=2)
    assert [path.name for path in case.paths] == ["p_0000.nii", "p_0001.nii"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stores any bytes as a name")
def test_a_name_that_is_not_utf8_is_a_problem_with_a_readable_name(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"bad\xff.nii"), "wb"):
        pass
    (case,) = find(tmp_path)
    assert "not valid UTF-8" in case.problem
    assert case.name == "bad\\xff.nii"


def test_nothing_found_says_what_was_looked_for(tmp_path):
    make(tmp_path, "x/a.nii")
    with pytest.raises(NoInputError, match=r"No input files found in .*\.nii\.gz.*`recursive`"):
        find(tmp_path)


def test_input_is_not_output(tmp_path):
    make(tmp_path, "a.nii")
    with pytest.raises(ConfigError, match="also the input folder"):
        find(tmp_path, output=tmp_path)
    with pytest.raises(ConfigError, match="also the input folder"):
        find(tmp_path / "a.nii", output=tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        find(tmp_path / "absent")


NUMBERED = InputSpec(("CT",), numbered_files=True)


def test_one_channel_may_be_numbered_as_in_nnunet(tmp_path):
    make(tmp_path, "a_0000.nii.gz", "b_0000.nii.gz")
    cases = find_cases(tmp_path, None, recursive=False, wanted=NUMBERED).cases
    assert [case.name for case in cases] == ["a.nii.gz", "b.nii.gz"]
    assert [case.name for case in find(tmp_path)] == ["a_0000.nii.gz", "b_0000.nii.gz"]  # other models
    (case,) = find_cases(tmp_path / "b_0000.nii.gz", None, recursive=False, wanted=NUMBERED).cases
    assert case.name == "b.nii.gz"


def test_a_folder_where_one_file_has_no_number_keeps_its_names(tmp_path):
    make(tmp_path, "a_0000.nii.gz", "plain.nii.gz")
    cases = find_cases(tmp_path, None, recursive=False, wanted=NUMBERED).cases
    assert [case.name for case in cases] == ["a_0000.nii.gz", "plain.nii.gz"]


def test_a_channel_too_many_is_refused_with_the_names_of_channels(tmp_path):
    make(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz")
    case, _ = find_cases(tmp_path, None, recursive=False, wanted=NUMBERED).cases
    assert case.problem == "a_0001 is one channel too many; the model takes 1 channel (CT)"
    two = InputSpec(("T1", "FLAIR"))
    cases = find_cases(tmp_path, None, recursive=False, wanted=two).cases
    assert cases[1].problem == "channel file b_0001 is missing; the model takes 2 channels (T1, FLAIR)"


def test_a_folder_in_which_no_case_has_the_channels_is_refused(tmp_path):
    """Another model's images: a mistake in the command, for which no case is started."""
    make(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz")
    one = "no case has the channels of the model: a_0001 is one channel too many; the model takes 1 channel"
    with pytest.raises(ConfigError, match=re.escape(one)):
        find_cases(tmp_path, None, recursive=False, wanted=NUMBERED)
    three = "no case has the channels of the model: channel file a_0002 is missing; the model takes 3 channels"
    with pytest.raises(ConfigError, match=re.escape(three)):
        find_cases(tmp_path, None, recursive=False, wanted=InputSpec(("T1", "FLAIR", "T2")))


def test_a_4d_file_holds_the_channels(tmp_path):
    """Under its own name, or as nnU-Net names the first channel; other numbers of volumes are what they were."""
    for name, volumes in (("a", 3), ("b_0000", 3), ("c", 2), ("d_0000", 1)):
        voxels = np.arange(24 * volumes, dtype=np.float32).reshape(2, 3, 4, volumes)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{name}.nii.gz")
    cases = find(tmp_path, channels=3)
    assert [(case.name, case.volumes) for case in cases] == [
        *(("a.nii.gz", 3), ("b.nii.gz", 3), ("c.nii.gz", 1), ("d.nii.gz", 1)),
    ]
    assert [case.problem is None for case in cases] == [True, True, False, False]
    volume = read_case(cases[1]).volume
    assert volume.array.shape == (3, 4, 3, 2)
    assert volume.array[2, 3, 2, 1] == 71
    assert reading_memory(cases[0]) == 2 * 4 * 72
    assert [case.problem for case in find(tmp_path)] == [None] * 4  # of one channel: refused when it is read
