"""Files are paired by their names, and none is left out unnamed."""

from __future__ import annotations

import pytest

from itk_infer.errors import ConfigError, NoInputError
from itk_infer.evaluate.pairs import find_pairs


@pytest.fixture
def folders(tmp_path):
    """A function that makes empty files, and returns the two folders."""

    def make(masks, truths):
        for folder, names in (("masks", masks), ("truths", truths)):
            for name in names:
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            (tmp_path / folder).mkdir(exist_ok=True)
        return tmp_path / "masks", tmp_path / "truths"

    return make


def named(found):
    return [(pair.name, pair.mask.name, pair.truth.name) for pair in found.pairs]


def test_endings_do_not_count(folders):
    found = find_pairs(*folders(["b.seg.nrrd", "a.nii.gz", "labels.csv"], ["a.mha", "b.nii", "itk_infer.db"]))
    assert named(found) == [("a", "a.nii.gz", "a.mha"), ("b", "b.seg.nrrd", "b.nii")]
    assert (found.masks_left, found.truths_left, found.ambiguous) == ((), (), ())


@pytest.mark.parametrize(
    ("mask", "truth"),
    [("c1.nii.gz", "c1_gt.nii.gz"), ("c1_pred.nii.gz", "c1_seg.nii.gz"), ("c1_0000.nii.gz", "c1-LABEL.nii")],
)
def test_last_words_do_not_count_where_names_differ(folders, mask, truth):
    found = find_pairs(*folders([mask], [truth]))
    assert named(found) == [(mask.partition(".")[0], mask, truth)]


def test_the_same_name_comes_before_one_without_its_last_word(folders):
    found = find_pairs(*folders(["c.nii", "c_seg.nii"], ["c_seg.nii", "c.nii"]))
    assert [(pair.mask.name, pair.truth.name) for pair in found.pairs] == [("c.nii", "c.nii"), ("c_seg.nii",) * 2]


def test_what_is_left_is_named(folders):
    found = find_pairs(*folders(["a.nii", "lonely.nii"], ["a.nii", "missed.nii", ".hidden.nii"]))
    assert (found.masks_left, found.truths_left) == (("lonely",), ("missed",))


def test_names_that_fit_in_several_ways_are_refused(folders):
    masks, truths = folders(["a.nii", "b.nii", "b.mha", "c.nii"], ["a_gt.nii", "a_seg.nii", "b.nii", "c.nii"])
    found = find_pairs(masks, truths)
    assert [pair.name for pair in found.pairs] == ["c"]
    assert len(found.ambiguous) == 2
    assert "a, a_gt, a_seg: their names fit each other in several ways" in found.ambiguous[0]
    assert "b.mha, b.nii: the same name twice among the masks" in found.ambiguous[1]


def test_sub_folders(folders):
    masks, truths = folders(["x/a.nii", "b.nii"], ["x/a.nii", "y/b.nii", "b.nii"])
    assert [pair.name for pair in find_pairs(masks, truths).pairs] == ["b"]
    found = find_pairs(masks, truths, recursive=True)
    assert [pair.name for pair in found.pairs] == ["b", "x/a"]
    assert found.truths_left == ("y/b",)


def test_two_files_need_no_common_name(folders):
    masks, truths = folders(["a.nii.gz"], ["other.mha"])
    found = find_pairs(masks / "a.nii.gz", truths / "other.mha")
    assert named(found) == [("a", "a.nii.gz", "other.mha")]


def test_what_cannot_be_paired_is_refused(folders, tmp_path):
    masks, truths = folders(["a.nii"], ["b.nii"])
    with pytest.raises(NoInputError, match="No mask has a truth"):
        find_pairs(masks, truths)
    with pytest.raises(ConfigError, match="no such file or folder"):
        find_pairs(masks, tmp_path / "gone")
    with pytest.raises(ConfigError, match="give two folders, or two files"):
        find_pairs(masks / "a.nii", truths)
