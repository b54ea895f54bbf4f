"""A folder classified: what is recorded, what a second run does, and how it ends."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itk_infer.classifier import Classifier
from itk_infer.classify import in_threads
from itk_infer.classify.database import ResultsDatabase
from itk_infer.classify.summary import ClassifySummary
from itk_infer.errors import ConfigError, NoInputError
from itk_infer.events import CaseFailed, CaseSkipped, Progress, RunDone, RunStarted, Warned

pytest.importorskip("pydicom", reason="pydicom writes the files")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from support import dicom_files
from support.classify_files import CLASSIFY, answer, brightness_network, grey_dicom

PROBABILITIES = (
    "SELECT f.path, p.probability FROM predictions p JOIN images i ON i.id = p.image JOIN files f ON f.id = i.file "
    "WHERE p.model = (SELECT model FROM runs ORDER BY id DESC LIMIT 1) ORDER BY f.path"
)


def counts(summary: ClassifySummary) -> tuple[int, int, int, int, int]:
    return summary.done, summary.up_to_date, summary.unchanged, summary.failed, summary.skipped


def test_probabilities_of_an_archive(archive: Path, run: Any, rows: Any) -> None:
    events: list[Any] = []
    summary = run(archive, listener=events.append)
    assert counts(summary) == (3, 0, 0, 0, 0)
    assert summary.exit_code == 0
    found = dict(rows(PROBABILITIES))
    wanted = {"a/1.dcm": answer(0.2), "a/2.dcm": answer(0.6), "b/1.dcm": answer(0.9)}
    assert found == pytest.approx(wanted, abs=1e-5)
    logit = rows("SELECT logit, std FROM predictions ORDER BY logit")[0]
    assert logit == (pytest.approx(-3, abs=1e-4), None)
    assert rows("SELECT count(DISTINCT study), count(DISTINCT sop) FROM images") == [(2, 3)]
    assert rows("SELECT patient, frames, folder FROM files WHERE path = 'a/1.dcm'") == [("P1", 1, "a")]
    assert rows("SELECT name, threshold, parent FROM labels") == [("bright", 0.5, None)]
    assert rows("SELECT images, exit_code, ended IS NOT NULL FROM runs") == [(3, 0, 1)]
    assert [type(event) for event in events] == [RunStarted, Progress, RunDone]


def test_a_short_run_is_one_transaction(
    archive: Path, run: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, init = [], ResultsDatabase.__init__

    def traced(self: ResultsDatabase, *args: Any, **keywords: Any) -> None:
        init(self, *args, **keywords)
        self.db.set_trace_callback(lambda words: commits.append(words) if words == "COMMIT" else None)

    monkeypatch.setattr(ResultsDatabase, "__init__", traced)
    monkeypatch.setattr("itk_infer.classify.database.COMMIT_S", 1e9)
    assert run(archive).done == 3
    assert commits == ["COMMIT"]
    assert rows("SELECT count(*) FROM predictions") == [(3,)]


def test_a_database_before_its_first_commit_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    path.touch()
    database = ResultsDatabase(path, read_only=True)
    assert database.last_input() is None
    database.close()


def test_a_second_run_reads_nothing(archive: Path, run: Any, rows: Any) -> None:
    run(archive)
    before = rows(PROBABILITIES)
    assert counts(run(archive)) == (0, 3, 0, 0, 0)
    assert rows(PROBABILITIES) == before
    assert counts(run(archive, overwrite=True)) == (3, 0, 0, 0, 0)
    assert rows(PROBABILITIES) == before


def test_new_and_changed_files_are_read(archive: Path, run: Any, rows: Any) -> None:
    run(archive)
    grey_dicom(archive / "c/1.dcm", 0.5, 7, study="c")
    grey_dicom(archive / "a/1.dcm", 0.8, 0, study="a")
    os.utime(archive / "a/1.dcm", ns=(1, 1))
    os.utime(archive / "b/1.dcm", ns=(1, 1))  # touched
    assert counts(run(archive)) == (2, 1, 1, 0, 0)
    assert dict(rows(PROBABILITIES))["a/1.dcm"] == pytest.approx(answer(0.8), abs=1e-5)
    assert rows("SELECT count(*) FROM images") == [(4,)]
    assert counts(run(archive)) == (0, 4, 0, 0, 0)


def test_another_model_computes_everything_and_keeps_the_old(
    archive: Path, run: Any, rows: Any, tmp_path: Path
) -> None:
    run(archive)
    other = brightness_network(tmp_path / "other.onnx", CLASSIFY, shift=1.0)
    assert counts(run(archive, other)) == (3, 0, 0, 0, 0)
    assert dict(rows(PROBABILITIES))["a/1.dcm"] == pytest.approx(answer(0.2, 1.0), abs=1e-5)
    assert rows("SELECT count(*) FROM predictions") == [(6,)]
    assert rows("SELECT count(*) FROM images") == [(3,)]
    document = CLASSIFY | {"output": {"activation": "sigmoid", "labels": [{"name": "bright", "threshold": 0.9}]}}
    again = brightness_network(tmp_path / "other.onnx", document, shift=1.0)
    assert counts(run(archive, again)) == (0, 3, 0, 0, 0), "a threshold changes no probability"
    assert ("bright", 0.9) in rows("SELECT name, threshold FROM labels")
    run(archive, again, threshold=0.25)
    assert ("bright", 0.25) in rows("SELECT name, threshold FROM labels")


def test_files_that_fail_and_files_that_are_none(archive: Path, run: Any, rows: Any) -> None:
    (archive / "a/notes.txt").write_text("words", "utf-8")
    (archive / "a/.hidden.dcm").write_bytes(b"")
    (archive / "a/3.dcm").write_bytes(b"no DICOM")
    cut = (archive / "b/1.dcm").read_bytes()
    (archive / "b/2.dcm").write_bytes(cut[:-40])
    (archive / "c").mkdir()
    (archive / "c/1.dcm").write_bytes(b"")
    events: list[Any] = []
    summary = run(archive, listener=events.append)
    assert (summary.exit_code, *counts(summary)) == (3, 3, 0, 0, 3, 1)
    failed = {event.case: event.reason for event in events if isinstance(event, CaseFailed)}
    assert failed["c/1.dcm"].startswith("1.dcm: is empty")
    assert "is cut short" in failed["b/2.dcm"]
    assert [event.case for event in events if isinstance(event, CaseSkipped)] == ["a/notes.txt"]
    studies = dict(rows("SELECT path, study FROM files"))
    assert studies["a/3.dcm"] == studies["a/1.dcm"], "the study of its folder"
    assert studies["b/2.dcm"] == studies["b/1.dcm"], "its own header names it"
    assert studies["c/1.dcm"] == "folder:c"
    assert rows("SELECT count(*) FROM files WHERE state != 'done' AND reason IS NULL") == [(0,)]
    (archive / "c/1.dcm").unlink()
    grey_dicom(archive / "a/3.dcm", 0.5, 9, study="a")
    (archive / "b/2.dcm").unlink()
    assert run(archive).exit_code == 0, "failures that are no longer there are forgotten"


def test_all_fail(tmp_path: Path, run: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.dcm").write_bytes(b"x")
    assert run(tmp_path / "in").exit_code == 4


def test_there_is_no_picture(tmp_path: Path, run: Any) -> None:
    (tmp_path / "in").mkdir()
    empty = run(tmp_path / "in")
    assert (empty.exit_code, "holds no file" in empty.problem) == (NoInputError.exit_code, True)
    (tmp_path / "in/notes.txt").write_text("words", "utf-8")
    assert run(tmp_path / "in").exit_code == NoInputError.exit_code
    with pytest.raises(NoInputError, match="no such file"):
        run(tmp_path / "elsewhere")


def test_pictures_and_volumes(tmp_path: Path, run: Any, rows: Any) -> None:
    import SimpleITK as sitk
    from PIL import Image

    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("L", (9, 9), 255).save(folder / "a.png")
    np.save(folder / "b.npy", np.full((5, 5), 0.25))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 4), np.uint8)), str(folder / "c.nii.gz"))
    summary = run(folder)
    assert (summary.done, summary.images) == (3, 5)
    found = rows(PROBABILITIES)
    assert [path for path, _ in found] == ["a.png", "b.npy", *["c.nii.gz"] * 3]
    assert [value for _, value in found] == pytest.approx([answer(1), answer(0.25), *[answer(0)] * 3], abs=1e-5)
    assert rows("SELECT DISTINCT study FROM images") == [("folder:.",)]


def test_one_file(archive: Path, run: Any, rows: Any) -> None:
    assert run(archive / "a/2.dcm").done == 1
    assert rows("SELECT path, folder FROM files") == [("2.dcm", "")]


def test_files_that_vanish(archive: Path, run: Any, rows: Any) -> None:
    run(archive)
    (archive / "a/1.dcm").unlink()
    shutil.rmtree(archive / "b")
    events: list[Any] = []
    run(archive, listener=events.append)
    words = next(event.message for event in events if isinstance(event, Warned))
    assert words.startswith("files that are no longer there keep their results: a/1.dcm, b/1.dcm")
    assert rows("SELECT count(*) FROM predictions") == [(3,)]
    run(archive, forget_missing=True)
    for table in ("files", "images", "predictions"):
        assert rows(f"SELECT count(*) FROM {table}") == [(1,)]


def test_another_input(archive: Path, run: Any) -> None:
    run(archive)
    events: list[Any] = []
    run(archive / "a", listener=events.append)
    assert "the last run here was over" in next(event.message for event in events if isinstance(event, Warned))


def test_results_inside_the_input_are_not_searched(archive: Path, run: Any, tmp_path: Path) -> None:
    run(archive)
    assert run(tmp_path).done == 3, "neither out nor the lock and the database in it"


def test_another_run_is_at_work(archive: Path, run: Any, tmp_path: Path) -> None:
    from itk_infer.run.lock import FolderLock

    (tmp_path / "out").mkdir()
    with FolderLock(tmp_path / "out"), pytest.raises(ConfigError, match="another run"):
        run(archive)


def test_a_file_that_is_no_database(archive: Path, run: Any, tmp_path: Path, rows: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/results.db").write_text("words " * 200, "utf-8")
    with pytest.raises(ConfigError, match="cannot be used as a database"):
        run(archive)
    (tmp_path / "out/results.db").unlink()
    run(archive)
    import sqlite3

    with sqlite3.connect(tmp_path / "out/results.db") as db:
        db.execute("UPDATE about SET value = '99'")
    db.close()
    with pytest.raises(ConfigError, match="newer itk_infer"):
        run(archive)


def test_members_of_an_ensemble(archive: Path, run: Any, rows: Any, tmp_path: Path) -> None:
    import json

    for number in range(2):
        brightness_network(tmp_path / f"{number}.onnx", CLASSIFY, shift=float(number))
    path = tmp_path / "both.json"
    path.write_text(json.dumps({"ensemble": 1, "members": ["0.onnx", "1.onnx"]}), "utf-8")
    run(archive, path, save_members=True)
    one, two = answer(0.2), answer(0.2, 1.0)
    query = "SELECT probability, std FROM predictions ORDER BY probability LIMIT 1"
    assert rows(query) == [(pytest.approx((one + two) / 2, abs=1e-5), pytest.approx((two - one) / 2, abs=1e-5))]
    assert rows("SELECT count(*) FROM member_predictions") == [(6,)]


def test_a_picture_that_the_network_fails_on_fails_alone(
    archive: Path, run: Any, tmp_path: Path, rows: Any
) -> None:
    """Of pictures of their own size, one is too small for the network."""
    document = CLASSIFY | {"input": {"channels": ["grey"], "values": "stored"}}
    path = brightness_network(tmp_path / "free.onnx", document, shape=("n", 1, "y", "x"))
    np.save(archive / "nan.npy", np.full((8, 8), 1e38))
    np.save(archive / "small.npy", np.full((2, 2), 0.5))
    summary = run(archive, path, batch=4)
    assert summary.done == 5 or summary.failed == 1
    assert rows("SELECT count(*) FROM files WHERE state = 'waiting'") == [(0,)]


def test_the_folder_is_taken_over_by_another_run(archive: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from itk_infer.classify.database import ResultsDatabase
    from itk_infer.errors import LockLostError

    def lose(self: Any, *words: Any, **options: Any) -> None:
        raise LockLostError("another run has taken it over")

    monkeypatch.setattr(ResultsDatabase, "record", lose)
    summary = run(archive)
    assert (summary.exit_code, summary.problem) == (2, "another run has taken it over")


def test_a_bug_in_a_thread_ends_the_run(archive: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in what is done with a batch; one in a single picture is the reason why that fails."""
    from itk_infer.classifier import Classifier

    def fail(self: Any, inputs: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Classifier, "scores_around", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run(archive)


def test_a_database_that_cannot_be_written(archive: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    from itk_infer.classify.database import ResultsDatabase

    def full(self: Any, *words: Any, **options: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(ResultsDatabase, "record", full)
    with pytest.raises(ConfigError, match="disk is full"):
        run(archive)


@pytest.mark.parametrize(("error", "kept"), [(0.001, True), (0.2, False)])
def test_reduced_precision_is_compared_first(
    archive: Path, run: Any, rows: Any, monkeypatch: pytest.MonkeyPatch, error: float, kept: bool
) -> None:
    """A network that answers a little else in half precision than in fp32."""
    from itk_infer.model.kinds.onnx_pictures import OnnxPictures

    begin, forward = OnnxPictures.__init__, OnnxPictures.forward

    def begin_reduced(self: Any, *words: Any) -> None:
        begin(self, *words)
        self.precision = "bf16"

    def forward_reduced(self: Any, pictures: Any) -> Any:
        return forward(self, pictures) + (4 * error if self.precision == "bf16" else 0)

    monkeypatch.setattr(OnnxPictures, "__init__", begin_reduced)
    monkeypatch.setattr(OnnxPictures, "forward", forward_reduced)
    (archive / "0.dcm").write_bytes(b"x")
    (archive / "notes.txt").write_text("words", "utf-8")
    events: list[Any] = []
    assert run(archive, listener=events.append).exit_code == 3
    words = next(event.message for event in events if isinstance(event, Warned))
    assert ("fp32 is used" in words) is not kept
    found = dict(rows(PROBABILITIES))["a/2.dcm"]
    assert (found == pytest.approx(answer(0.6), abs=1e-5)) is not kept


def test_links_and_circles(archive: Path, run: Any, tmp_path: Path) -> None:
    try:
        (archive / "a/circle").symlink_to(archive, target_is_directory=True)
        (archive / "a/nowhere.dcm").symlink_to(tmp_path / "nothing")
    except OSError:
        pytest.skip("this system makes no links here")
    summary = run(archive)
    assert (summary.done, summary.failed) == (3, 1)


def test_many_files_are_recorded_in_parts(archive: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from itk_infer.classify import plan

    monkeypatch.setattr(plan, "ROWS", 1)
    assert run(archive).done == 3


def test_two_threads_take_frames_of_one_file(
    tmp_path: Path, run: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = np.arange(11) / 10
    pixels = np.broadcast_to((shares * 1000).round().astype(np.uint16)[:, None, None], (11, 8, 8))
    ds = dicom_files.slice_of(0, pixels[0], WindowCenter="500.5", WindowWidth="1001", NumberOfFrames=11)
    ds.PixelData = pixels.tobytes()
    dicom_files.save(ds, tmp_path / "in/frames.dcm")
    both = threading.Barrier(2, timeout=60)
    planes, met = Classifier.planes, set()

    def meet(self: Classifier, picture: Any) -> Any:
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            both.wait()
        return planes(self, picture)

    monkeypatch.setattr(Classifier, "planes", meet)
    monkeypatch.setattr(in_threads, "threads_on", lambda classifier, cores: cores)
    assert run(tmp_path / "in").exit_code == 0
    assert len(met) == 2
    found = rows("SELECT i.frame, p.probability FROM images i JOIN predictions p ON p.image = i.id ORDER BY 1")
    assert [frame for frame, _ in found] == list(range(11))
    np.testing.assert_allclose([value for _, value in found], [answer(share) for share in shares], atol=1e-5)


def test_a_note_of_a_network_that_is_built_late_is_told_once(
    archive: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itk_infer.model.kinds.onnx_pictures import OnnxPictures

    forward = OnnxPictures.forward

    def late(self: Any, pictures: Any) -> Any:
        self._more = ["told at once", "another library runs it"]
        return forward(self, pictures)

    begin = OnnxPictures.__init__

    def early(self: Any, *words: Any) -> None:
        begin(self, *words)
        self._more = ["told at once"]

    monkeypatch.setattr(OnnxPictures, "__init__", early)
    monkeypatch.setattr(OnnxPictures, "forward", late)
    events: list[Any] = []
    assert run(archive, listener=events.append).exit_code == 0
    told = [event.message for event in events if isinstance(event, Warned)]
    assert told == ["told at once", "another library runs it"]
