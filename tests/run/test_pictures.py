"""Pictures and the montage in a run."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from PIL import Image

from itk_infer.run.ledger import Ledger


def test_pictures_and_montage_are_written_recorded_and_known_again(folder):
    for seed, name in enumerate(("a.mha", "b.nii.gz")):
        folder.scan(name, seed)
    assert folder.run(save=("pictures", "montage")).done == ["a.mha", "b.nii.gz"]
    assert folder.names() == ["a.mha", "a.png", "b.nii.gz", "b.png", "itk_infer.db", "labels.csv", "montage.png"]
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        kinds = {path: output.kind for path, output in ledger.outputs().items()}
    assert (kinds["a.png"], kinds["montage.png"]) == ("pictures", "derived")
    before = (folder.output / "montage.png").stat().st_mtime_ns
    assert folder.run(save=("pictures", "montage")).skipped == {
        "a.mha": "already done",
        "b.nii.gz": "already done",
    }
    assert (folder.output / "montage.png").stat().st_mtime_ns == before


def test_the_montage_follows_the_pictures(folder):
    folder.scan("a.mha")
    folder.run(save=("montage",))
    with Image.open(folder.output / "montage.png") as picture:
        empty = np.asarray(picture)
    folder.run(save=("pictures",))
    with Image.open(folder.output / "montage.png") as picture:
        assert picture.size != empty.shape[1::-1] or not np.array_equal(np.asarray(picture), empty)


def test_a_missing_picture_leaves_the_label_map_alone(folder):
    folder.scan("a.mha")
    folder.run()
    before = (folder.output / "a.mha").stat().st_mtime_ns
    assert folder.run(save=("pictures",)).done == ["a.mha"]
    assert (folder.output / "a.mha").stat().st_mtime_ns == before
