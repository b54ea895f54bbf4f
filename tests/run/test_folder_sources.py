"""Images of one name from two places, one output folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from support.folders import write_scan

from itk_infer.events import (
    Warned,
)


def two_sources(folder, suffix="mha"):
    """A result of one place, and another image of the same name elsewhere, which is the input now."""
    first = folder.scan(f"a.{suffix}", 0)
    folder.run(save_logits=True)
    earlier = folder.source / f"a.{suffix}"
    folder.source = folder.source.parent / "second"
    folder.source.mkdir()
    return earlier, first


def test_a_result_of_another_image_is_not_replaced(folder):
    earlier, first = two_sources(folder)
    folder.scan("a.mha", 1)
    folder.scan("b.mha", 2)
    summary = folder.run()
    assert (summary.done, summary.exit_code) == (["b.mha"], 3)
    assert f"a.mha is the result of another image, {earlier}; " in summary.failed["a.mha"]
    np.testing.assert_array_equal(folder.labels("a.mha"), first > 0)
    assert folder.states() == {"a.mha": "failed", "b.mha": "done"}


def test_nor_are_its_logits(folder):
    earlier, _ = two_sources(folder)
    folder.scan("a.mha", 1)
    (folder.output / "a.mha").unlink()
    summary = folder.run(save_logits=True)
    assert f"a.zarr is the result of another image, {earlier}; " in summary.failed["a.mha"]


def test_overwrite_replaces_it_and_names_the_earlier_image(folder):
    earlier, _ = two_sources(folder)
    array = folder.scan("a.mha", 1)
    assert folder.run(overwrite=True).done == ["a.mha"]
    assert any(str(earlier) in event.message for event in folder.of(Warned))
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_removing_the_result_settles_it(folder):
    two_sources(folder)
    array = folder.scan("a.mha", 1)
    (folder.output / "a.mha").unlink()
    assert folder.run().done == ["a.mha"]
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_another_name_that_would_write_the_same_file(folder):
    """One image after the other, each given alone: a.mha and a.nii both write a.nii."""
    folder.scan("a.mha", 0)
    folder.scan("a.nii", 1)
    both = folder.source
    folder.source = both / "a.mha"
    folder.run(format="nii")
    folder.source = both / "a.nii"
    assert "is the result of another image" in folder.run(format="nii").failed["a.nii"]


def test_an_image_that_was_withdrawn_is_named_and_replaced(folder):
    earlier, _ = two_sources(folder)
    array = folder.scan("a.mha", 1)
    earlier.unlink()  # its folder is there: nothing was unmounted
    assert folder.run().done == ["a.mha"]
    assert any(f"was made with another input, {earlier}" in event.message for event in folder.of(Warned))
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_a_folder_that_is_gone_may_come_back(folder):
    earlier, _ = two_sources(folder)
    folder.scan("a.mha", 1)
    shutil.rmtree(earlier.parent)
    assert folder.run().exit_code == 4


def test_the_same_image_elsewhere_is_the_same(folder):
    earlier, _ = two_sources(folder)
    shutil.copyfile(earlier, folder.source / "a.mha")
    assert folder.run().skipped == {"a.mha": "already done"}


def test_another_way_to_the_same_folder_is_no_other_image(folder, monkeypatch):
    folder.scan("a.mha", 0)
    folder.run()
    (folder.source.parent / "link").symlink_to(folder.source, target_is_directory=True)
    real, folder.source = folder.source, folder.source.parent / "link"
    array = folder.scan("a.mha", 1)
    assert folder.run().done == ["a.mha"]
    monkeypatch.chdir(real.parent)
    folder.source = real.relative_to(real.parent)
    array = folder.scan("a.mha", 2)
    assert folder.run().done == ["a.mha"]
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_relative_paths_of_two_working_folders_are_two_images(folder, monkeypatch):
    for seed, place in enumerate(("x", "y")):
        write_scan(folder.source / place / "scans" / "a.mha", seed)
    folder.source, root = Path("scans"), folder.source
    monkeypatch.chdir(root / "x")
    assert folder.run().done == ["a.mha"]
    monkeypatch.chdir(root / "y")
    assert str(root / "x" / "scans" / "a.mha") in folder.run().failed["a.mha"]
