"""Machines on which nothing can be written but the output folder, or on which there is little memory."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from support.programs import DEMO, program

from itk_infer.errors import ConfigError, ModelError
from itk_infer.files.temporary import temporary_folder
from itk_infer.run.ledger import NAME, Ledger
from itk_infer.volume.read import read_image

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture
def no_temporary_folder(monkeypatch):
    def fail():
        if tempfile.tempdir is None:
            raise FileNotFoundError("no usable temporary directory")
        return tempfile.tempdir

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "gettempdir", fail)


# --- nothing can be written -----------------------------------------------------------------------------------

READ_ONLY = """
set -e
for place in / /dev /dev/shm /tmp /var/tmp "$HOME" "$1"; do
    [ -d "$place" ] && mount --bind "$place" "$place" && mount -o remount,bind,ro "$place"
done
mount --bind "$1/out" "$1/out" && mount -o remount,bind,rw "$1/out"
cd "$1"
for place in /tmp /dev/shm "$HOME" .; do ! touch "$place/itk_infer-test" 2>/dev/null; done
unset TMPDIR TEMP TMP
shift
for words in "$@"; do eval "$words"; done
"""


def can_make_read_only():
    words = [
        "unshare",
        "-m",
        "bash",
        "-c",
        "mount --bind / / && mount -o remount,bind,ro /",
    ]
    return bool(shutil.which("unshare")) and not subprocess.run(words, capture_output=True, check=False).returncode


@linux
def test_a_read_only_container(batch):
    """As ``docker run --read-only`` makes them, without even a temporary folder."""
    if not can_make_read_only():
        pytest.skip("needs the right to make mounts read-only (root)")
    batch.scan("a.nii.gz")
    (batch.source / "a.nii.gz").rename(batch.source / "Mixed.Nii.Gz")  # read through a link of another name
    batch.output.mkdir()
    it = f'"{sys.executable}" -m itk_infer'
    main = f'{it} -i in -o out/m --onnx "{DEMO / "hippocampus_unet.onnx"}" --device cpu'
    done = subprocess.run(
        [
            *("unshare", "-m", "bash", "-c", READ_ONLY, "bash", batch.folder),
            f"{main} --dry-run",
            '[ -z "$(ls -A out)" ]',
            f"{main} --save-conf --save-logits --num-proc 2",
            f"{it} status out/m",
            f"{it} report out/m",
            f"{main} --save-conf --save-logits",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        # Coverage could not be written either, and would say so.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "1 window" in done.stdout  # of the dry run
    assert "1 cases on record: 1 done" in done.stdout
    assert "Nothing to do: every case was done before." in done.stderr
    names = {path.name for path in (batch.output / "m").iterdir()}
    assert names == {"Mixed.nii.gz", "Mixed.zarr", "confidences.xlsx", "itk_infer.db", "labels.csv"}
    assert [path.name for path in batch.output.iterdir()] == ["m"]
    mask = np.asarray(nibabel.load(batch.output / "m" / "Mixed.nii.gz").dataobj)
    (batch.source / "Mixed.Nii.Gz").rename(batch.source / "plain.nii.gz")
    assert program(batch).returncode == 0
    np.testing.assert_array_equal(mask.T, batch.labels("plain.nii.gz"))


def test_a_name_in_mixed_case_needs_no_temporary_folder(batch, no_temporary_folder):
    array = batch.scan("a.nii.gz")
    path = (batch.source / "a.nii.gz").rename(batch.source / "A.Nii.Gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path).image), array)


def test_a_config_without_a_place_for_its_copy(tmp_path, no_temporary_folder):
    pytest.importorskip("mmengine")
    from itk_infer.model.kinds.mmengine_network import quiet_imports, read_config

    (tmp_path / "config.py").write_text("model = dict(type='X')")
    with pytest.raises(ModelError, match=r"config\.py: MMEngine reads a copy .* set TMPDIR"):
        read_config(tmp_path / "config.py")
    with temporary_folder(tmp_path), quiet_imports():
        assert read_config(tmp_path / "config.py").model.type == "X"


TORN = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")  # so that the change reaches the file before it is committed
db.execute("BEGIN IMMEDIATE")
db.executemany("INSERT INTO cases (name, state, run, started) VALUES (?, 'waiting', '', '')", [(f"{n:0200}",) for n in range(2000)])
os._exit(9)
"""  # fmt: skip


def test_a_torn_ledger_without_a_place_for_its_copy(batch, no_temporary_folder):
    batch.scan("a.mha")
    batch.run()
    subprocess.run([sys.executable, "-c", TORN, str(batch.output / NAME)], check=False)
    torn = (batch.output / NAME).read_bytes()
    assert (batch.output / f"{NAME}-journal").stat().st_size
    with pytest.raises(ConfigError, match="unfinished transaction, .* set TMPDIR"):
        Ledger(batch.output, read_only=True)
    with temporary_folder(batch.scratch):
        assert batch.states() == {"a.mha": "done"}
    assert (batch.output / NAME).read_bytes() == torn
    with closing(sqlite3.connect(batch.output / NAME)) as db:  # SQLite's own opinion
        assert db.execute("SELECT count(*) FROM cases").fetchone() == (1,)


# --- little memory --------------------------------------------------------------------------------------------


def limited(batch, kib, *words):
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({kib * 1024}, {kib * 1024}))"
    return program(batch, "--provider", "cpu", *words, first=limit)


@linux
def test_libraries_that_do_not_fit_are_no_fault_of_the_program(batch):
    """Wherever the memory ends, the sentence names the limit."""
    batch.scan("a.mha")
    for kib in (250_000, 300_000):
        done = limited(batch, kib)
        assert done.returncode in (4, 5), done.stderr
        assert "Traceback" not in done.stderr
        assert "pip install" not in done.stderr
        assert f"that ulimit -v leaves of {kib / 1024:,.0f} MiB" in done.stderr


@linux
def test_what_ulimit_does_not_allow_is_refused_before_it_is_read(batch):
    batch.scan("small.mha")
    image = sitk.Image([512, 512, 1000], sitk.sitkInt16)
    sitk.WriteImage(image, str(batch.source / "large.mha"), useCompression=True)
    plan = limited(batch, 1_500_000, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert re.search(
        r"large\.mha +will fail: would need about 1,\d+ MiB .* ulimit -v leaves of 1,465 MiB", plan.stdout
    )
    done = limited(batch, 1_500_000)
    assert done.returncode == 3, done.stderr
    assert "large.mha: FAILED, would need about 1,000 MiB of memory to be read, more than the" in done.stderr
    assert "small.mha: done" in done.stderr
