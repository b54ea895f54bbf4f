"""The tables tell of the masks that lie there: of two models, in two formats, of images that are gone."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3

import numpy as np
import pytest
from openpyxl import load_workbook

from itk_infer.cli.main import main
from itk_infer.events import Warned
from itk_infer.run.ledger import Ledger
from itk_infer.run.shard import Shard
from itk_infer.spec import parse_spec


def spec(**labels):
    """A model with an argmax over channels, whose labels have these names: ``name=(value, channel)``."""
    table = [{"name": name, "value": value, "channel": channel} for name, (value, channel) in labels.items()]
    return parse_spec({"output": {"labels": table}}, "test")


def three_channels(windows):
    """Background below 0, channel 1 from there to 50, channel 2 above."""
    return np.concatenate([-windows, np.minimum(windows, 40) + 1e-3, windows * 2 - 60], axis=1)


A, B = spec(liver=(1, 1), spleen=(2, 2)), spec(spleen=(1, 2), liver=(2, 1))


def table(path):
    with path.open(newline="") as file:
        return {row["Name"]: int(row["LabelValue"]) for row in csv.DictReader(file)}


def rows(folder):
    """Rows of the spreadsheet by mask, or by image where there is none, each by column."""
    titles, *values = load_workbook(folder.output / "confidences.xlsx").active.values
    found = [dict(zip(titles, row, strict=True)) for row in values]
    return {row["mask"] or row["file"]: row for row in found}


def warnings(folder):
    return [event.message for event in folder.of(Warned)]


def status(folder, capfd):
    capfd.readouterr()
    assert main(["status", str(folder.output), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def other_tables(folder):
    return sorted(folder.output.glob("labels-*.csv"))


def agrees(folder, name):
    """The table that the spreadsheet names, and its volumes, are those of the mask's own voxels (of 1 mm³)."""
    row = rows(folder)[name]
    meaning = table(folder.output / row["label table"])
    counts = np.bincount(folder.labels(name).ravel(), minlength=3)
    assert {label: row[f"volume {label} (ml)"] for label in meaning} == {
        label: pytest.approx(counts[value] / 1000) for label, value in meaning.items()
    }


def test_two_models_in_two_formats_each_with_its_own_table(folder, capfd):
    array = folder.scan("c.nrrd")
    for model, suffix, other in ((A, "mha", None), (B, "nrrd", "c.mha"), (A, "mha", "c.nrrd")):
        folder.run(three_channels, spec=model, format=suffix, save_conf=True)
        values = {label.name: label.value for label in model.output.labels}
        assert table(folder.output / "labels.csv") == values
        voxels = np.count_nonzero(folder.labels(f"c.{suffix}") == values["liver"])
        assert voxels == np.count_nonzero((array >= 0) & (array <= 50))
        assert [path.name for path in other_tables(folder)] == (
            [rows(folder)[other]["label table"]] if other else []
        )
        agrees(folder, f"c.{suffix}")
        if other:
            agrees(folder, other)
            assert any(other in words and other_tables(folder)[0].name in words for words in warnings(folder))
            assert "other model settings" in rows(folder)[other]["review"]
            assert set(status(folder, capfd)["masks"]) == {other}
    assert folder.of(Warned)
    (folder.output / "c.nrrd").unlink()
    folder.run(three_channels, spec=A, format="mha", save_conf=True)
    assert other_tables(folder) == []


def test_tables_that_do_not_contradict_each_other_are_one(folder):
    folder.scan("a.mha")
    folder.run(three_channels, spec=A, format="mha")
    folder.run(three_channels, spec=spec(liver=(1, 1), heart=(3, 2)), format="nrrd")
    assert table(folder.output / "labels.csv") == {"liver": 1, "spleen": 2, "heart": 3}
    assert other_tables(folder) == []
    assert any("a.mha: made with another model or other settings" in words for words in warnings(folder))


def test_a_label_table_changed_by_hand_is_kept(folder):
    folder.scan("a.mha")
    folder.run(three_channels, spec=A, format="mha")
    folder.run(three_channels, spec=B, format="nrrd")
    (other,) = other_tables(folder)
    other.write_text("notes")
    (folder.output / "a.mha").unlink()
    folder.run(three_channels, spec=B, format="nrrd")
    assert other.read_text() == "notes"


def test_masks_and_images_that_are_gone_are_marked_until_they_are_forgotten(folder, capfd):
    for name in "abcd":
        folder.scan(f"{name}.mha", ord(name))
    folder.run(save_conf=True)
    (folder.source / "a.mha").rename(folder.source / "sub-01.mha")  # renamed, and its mask deleted
    (folder.output / "a.mha").unlink()
    (folder.source / "b.mha").unlink()  # withdrawn, and its mask is still there
    (folder.output / "c.mha").unlink()
    (folder.source / "c.mha").write_text("no image")  # its mask is gone, and cannot be made again
    folder.run(save_conf=True)
    found = rows(folder)
    assert "the mask a.mha is gone; the image is no longer at" in found["a.mha"]["review"]
    assert found["b.mha"]["review"].startswith(f"the image is no longer at {folder.source / 'b.mha'}")
    assert "the mask c.mha is gone" in found["c.mha"]["review"]
    assert found["d.mha"]["review"] is None
    numbers = {name: row["confidence"] is not None for name, row in found.items()}
    assert numbers == {"a.mha": False, "b.mha": True, "c.mha": False, "d.mha": True, "sub-01.mha": True}
    assert any("a.mha, b.mha, c.mha: on record, but" in words for words in warnings(folder))
    told = status(folder, capfd)
    assert set(told["masks"]) == {"a.mha", "b.mha", "c.mha"}
    assert set(told["image_gone"]) == {"a.mha", "b.mha"}

    assert main(["report", str(folder.output), "--forget-missing"]) == 0
    err = capfd.readouterr().err
    assert err.count("forgotten") == 3
    assert "b.mha stays" in err
    assert set(rows(folder)) == {"d.mha", "sub-01.mha"}
    assert (folder.output / "b.mha").exists()
    assert status(folder, capfd)["cases"] == 2

    folder.scan("b.mha", 7)  # what is known to be ours may be replaced
    (folder.source / "c.mha").unlink()
    assert folder.run(save_conf=True).done == ["b.mha"]
    assert set(rows(folder)) == {"b.mha", "d.mha", "sub-01.mha"}
    assert [row["review"] for row in rows(folder).values()] == [None] * 3


def test_failed_cases_whose_image_is_gone_say_so_and_can_be_forgotten(folder, capfd):
    folder.scan("a.mha")
    (folder.source / "bad.mha").touch()
    folder.run()
    (folder.source / "bad.mha").unlink()
    main(["status", str(folder.output)])
    assert f"its image is no longer at {folder.source / 'bad.mha'}" in capfd.readouterr().out
    main(["report", str(folder.output), "--forget-missing"])
    assert status(folder, capfd)["failed"] == {}


def test_where_no_image_can_be_found_nothing_is_said_of_images(folder, capfd, tmp_path):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)
    folder.run(save_conf=True)
    folder.source.rename(tmp_path / "unmounted")
    told = status(folder, capfd)
    assert (told["image_gone"], told["masks"]) == ({}, {})
    main(["report", str(folder.output), "--forget-missing"])
    assert set(rows(folder)) == {"a.mha", "b.mha"}


def test_images_that_were_copied_elsewhere_are_found_there(folder, capfd, tmp_path):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)
    folder.run()
    shutil.copytree(folder.source, tmp_path / "copy")
    shutil.rmtree(folder.source)
    folder.source = tmp_path / "copy"
    assert len(folder.run().skipped) == 2
    (folder.source / "b.mha").unlink()
    assert list(status(folder, capfd)["image_gone"].values()) == [str(folder.source / "b.mha")]


def test_a_mask_changed_by_hand_is_named(folder, capfd):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)
    folder.run(save_conf=True)
    shutil.copy(folder.output / "b.mha", folder.output / "a.mha")
    folder.run(save_conf=True)
    assert "changed by hand" in rows(folder)["a.mha"]["review"]
    assert list(status(folder, capfd)["masks"]) == ["a.mha"]


def test_a_mask_whose_case_failed_later_is_named(folder):
    folder.scan("a.mha")
    folder.run(save_conf=True)
    (folder.source / "a.mha").write_text("no image")
    folder.run(save_conf=True)
    assert "a later attempt failed" in rows(folder)["a.mha"]["review"]


def test_nothing_to_do_rewrites_no_table(folder):
    folder.scan("a.mha")
    folder.run(save_conf=True)
    before = {path.name: path.stat() for path in folder.output.glob("*.[cx]*")}
    folder.run(save_conf=True)
    assert {path.name: path.stat() for path in folder.output.glob("*.[cx]*")} == before
    assert set(before) == {"confidences.xlsx", "labels.csv"}


def test_cases_are_reviewed_among_their_like(folder):
    """A label that the other model has is not missed in the masks of this one."""
    for index in range(5):
        folder.scan(f"{index}.mha", index)
    folder.run(three_channels, spec=A, format="mha", save_conf=True)
    for index in range(1, 5):
        (folder.source / f"{index}.mha").unlink()
    folder.run(spec=spec(heart=(1, 1)), format="nrrd", save_conf=True)
    assert rows(folder)["0.nrrd"]["review"] is None


def test_the_tables_of_shards_and_their_status(folder, capfd):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)
    folder.run(three_channels, spec=A, shard=Shard(1, 2))
    folder.run(three_channels, spec=B, shard=Shard(2, 2))
    told = status(folder, capfd)["label_tables"]
    assert told["labels.csv"] == ["b.mha"]
    assert main(["report", str(folder.output)]) == 0
    assert "the values mean other labels" in capfd.readouterr().err
    agrees(folder, "a.mha")
    agrees(folder, "b.mha")
    assert status(folder, capfd)["label_tables"] == told


def downgrade(path):
    """The ledger as version 1 had it."""
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE cases DROP COLUMN paths")
        db.execute("ALTER TABLE outputs DROP COLUMN results")
        db.execute("PRAGMA user_version = 1")
    db.close()


def test_a_ledger_of_version_1_goes_on(folder, capfd):
    folder.scan("a.mha")
    folder.run(save_conf=True)
    before = rows(folder)
    downgrade(folder.output / "itk_infer.db")
    content = (folder.output / "itk_infer.db").read_bytes()
    assert status(folder, capfd)["states"]["done"] == 1  # which changes nothing
    assert (folder.output / "itk_infer.db").read_bytes() == content
    (folder.output / "confidences.xlsx").unlink()
    assert list(folder.run(save_conf=True).skipped) == ["a.mha"]
    assert rows(folder) == before
    ledger = Ledger(folder.output, read_only=True)
    assert ledger.cases()["a.mha"].paths == (str(folder.source / "a.mha"),)
    ledger.close()
