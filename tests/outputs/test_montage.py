from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from itk_infer.outputs.tables import montage
from itk_infer.outputs.tables.montage import MONTAGE, tables
from itk_infer.outputs.tables.table import CaseRow, FolderView

COLOURS = {"a": (250, 20, 20), "b": (20, 250, 20), "c": (20, 20, 250)}


@pytest.fixture
def rows(tmp_path):
    found = []
    for name, soft_dice in (("a", 0.9), ("b", 0.2), ("c", None)):
        Image.new("RGB", (700, 500), COLOURS[name]).save(tmp_path / f"{name}.png")
        found.append(
            CaseRow(f"{name}.mha", 0.5, 0.5, soft_dice=soft_dice, picture=f"{name}.png", picture_sha256=name)
        )
    return found


def written(rows, folder):
    tables(FolderView(rows, {}))[MONTAGE].write(folder / MONTAGE)
    with Image.open(folder / MONTAGE) as picture:
        return np.asarray(picture).astype(int)


def places(pixels):
    """The column of the middle of each colour."""
    return {
        name: float(np.nonzero((np.abs(pixels - np.asarray(colour)).max(axis=-1) < 5).any(axis=0))[0].mean())
        for name, colour in COLOURS.items()
        if (np.abs(pixels - np.asarray(colour)).max(axis=-1) < 5).any()
    }


def test_lowest_soft_dice_first_unknown_last(rows, tmp_path):
    found = places(written(rows, tmp_path))
    assert sorted(found, key=found.__getitem__) == ["b", "a", "c"]


def test_missing_pictures_have_an_empty_tile(rows, tmp_path):
    (tmp_path / "a.png").unlink()
    assert set(places(written(rows, tmp_path))) == {"b", "c"}


def test_the_most_doubtful_of_many(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(montage, "MOST", 2)
    assert set(places(written(rows, tmp_path))) == {"a", "b"}


def test_content_changes_with_a_picture(rows):
    first = tables(FolderView(rows, {}))[MONTAGE].content
    changed = [
        rows[0],
        CaseRow("b.mha", 0.5, 0.5, soft_dice=0.2, picture="b.png", picture_sha256="other"),
        rows[2],
    ]
    assert tables(FolderView(rows, {}))[MONTAGE].content == first
    assert tables(FolderView(changed, {}))[MONTAGE].content != first


def test_tiles_are_sorted_by_agreement_where_there_are_members(rows, tmp_path):
    agreed = [replace(row, agreement=value) for row, value in zip(rows, (0.1, 0.9, 0.5), strict=True)]
    found = places(written(agreed, tmp_path))
    assert sorted(found, key=found.__getitem__) == ["a", "c", "b"]


def test_a_verdict_is_a_word_and_part_of_the_content(rows, tmp_path):
    words = [
        replace(rows[0], verdict="accept: Dice 0.91 expected"),
        replace(rows[1], verdict="reject: nothing was found"),
        replace(rows[2], review="low confidence", verdict="no verdict: the calibration is of another model"),
    ]
    assert [row.word for row in words] == ["accept", "reject", "look first"]
    assert rows[0].word == ""
    pixels = written(words, tmp_path)
    for colour in (*montage.COLOURS.values(), montage.AMBER):
        assert (np.abs(pixels - np.asarray(colour)).max(axis=-1) < 12).any()
    assert tables(FolderView(words, {}))[MONTAGE].content != tables(FolderView(rows, {}))[MONTAGE].content
