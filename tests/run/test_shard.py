"""Shards: who does what, with which ledger, and how they become one."""

from __future__ import annotations

import json
import os

import pytest
from support.lock_files import write_lock

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError
from itk_infer.run.ledger import Ledger
from itk_infer.run.lock import FolderLock
from itk_infer.run.shard import Shard, parse_shard

ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "4"}


def test_shards_are_disjoint_and_complete():
    shares = [Shard(number, 3).select(range(10)) for number in (1, 2, 3)]
    assert sorted(item for share in shares for item in share) == list(range(10))
    assert [len(share) for share in shares] == [4, 3, 3]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("2/8", ARRAY, Shard(2, 8)),
        ("", {**ARRAY, "SLURM_ARRAY_TASK_STEP": "2"}, Shard(3, 4)),
        ("", {**ARRAY, "SLURM_ARRAY_TASK_ID": "3"}, Shard(1, 4)),
        (
            "",
            {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "1"},
            Shard(1, 1),
        ),
    ],
    ids=["written out", "an array with a step", "the first of an array", "an array of one"],
)
def test_what_a_shard_is_called(text, environment, expected):
    assert parse_shard(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment"), [("0/3", {}), ("4/3", {}), ("x", {}), ("", {}), ("", ARRAY), ("1/0", {})]
)
def test_what_is_none(text, environment):
    with pytest.raises(ConfigError, match="`shard"):
        parse_shard(text, environment)


def test_shards_fill_a_folder_and_report_merges_them(folder, capfd):
    for index in range(5):
        folder.scan(f"{index}.mha", index)
    (folder.source / "5.mha").touch()
    assert folder.run(shard=Shard(1, 2)).done == ["0.mha", "2.mha", "4.mha"]
    assert folder.run(shard=Shard(2, 2)).exit_code == 3
    assert folder.names()[-2:] == ["itk_infer.shard-1-of-2.db", "itk_infer.shard-2-of-2.db"]
    assert not {"labels.csv", "itk_infer.db"} & set(folder.names())
    assert main(["status", str(folder.output), "--json"]) == 0
    status = json.loads(capfd.readouterr().out)
    assert (status["states"]["done"], list(status["failed"])) == (5, ["5.mha"])
    assert main(["report", str(folder.output)]) == 0
    assert "5 done, 1 failed" in capfd.readouterr().out
    assert {"labels.csv", "itk_infer.db", "confidences.xlsx"} <= set(folder.names())
    assert not [name for name in folder.names() if "shard" in name]
    assert len(folder.run().skipped) == 5  # the whole run knows what they did
    assert main(["status", str(folder.output)]) == 0
    out = capfd.readouterr().out
    assert "6 cases: 5 done, 1 failed" in out
    assert "exit code 3" in out


def test_another_division_knows_what_was_done(folder):
    for index in range(4):
        folder.scan(f"{index}.mha", index)
    folder.run(shard=Shard(1, 2))
    assert folder.run(shard=Shard(1, 1)).done == ["1.mha", "3.mha"]
    folder.scan("2.mha", 9)
    assert folder.run(shard=Shard(3, 4)).done == ["2.mha"]


def test_who_may_write_beside_whom(tmp_path):
    write_lock(tmp_path / "itk_infer.shard-1-of-2.lock")
    with FolderLock(tmp_path, Shard(2, 2)) as lock:
        assert len(lock.others()) == 1
    for shard in (None, Shard(1, 2), Shard(1, 3)):
        with pytest.raises(ConfigError, match=f"process {os.getppid()}"), FolderLock(tmp_path, shard):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["itk_infer.shard-1-of-2.lock"]
    (tmp_path / "itk_infer.shard-1-of-2.lock").rename(tmp_path / "itk_infer.lock")
    with pytest.raises(ConfigError, match="another run"), FolderLock(tmp_path, Shard(2, 2)):
        pass


def test_a_shard_sweeps_no_partial_of_another(folder):
    folder.scan("a.mha")
    folder.output.mkdir()
    partial = folder.output / ".partial-0123456789ab.b.mha"
    partial.touch()
    os.utime(partial, (0, 0))
    lock = folder.output / "itk_infer.shard-2-of-2.lock"
    write_lock(lock)
    folder.run(shard=Shard(1, 2))
    assert partial.exists()
    lock.unlink()
    folder.run(shard=Shard(1, 2))
    assert not partial.exists()


def test_status_of_a_folder_without_a_ledger(tmp_path, capfd):
    assert main(["status", str(tmp_path)]) == 2
    assert "holds no itk_infer.db" in capfd.readouterr().err


def test_status_beside_a_run_and_after_a_kill(folder, capfd):
    folder.output.mkdir()
    ledger = Ledger(folder.output)
    ledger.begin_run("r", {})
    ledger.enqueue(["a", "b"], "r")
    ledger.start("a", "r")
    ledger.close()
    with FolderLock(folder.output):
        write_lock(folder.output / "itk_infer.lock")
        main(["status", str(folder.output)])
        assert f"at work: process {os.getppid()}" in capfd.readouterr().out
        (folder.output / "itk_infer.lock").unlink()
    main(["status", str(folder.output)])
    out = capfd.readouterr().out
    assert "1 running, 1 waiting" in out
    assert "was killed" in out
