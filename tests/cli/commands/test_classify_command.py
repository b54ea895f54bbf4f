"""The command: what it prints, its exit codes, and the real networks of the shared data."""

from __future__ import annotations

import csv
import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from itk_infer.classifier import Classifier
from itk_infer.classify.part import ClassifierRequest
from itk_infer.cli.main import main
from itk_infer.errors import ModelError
from itk_infer.executors.workers import Workers
from itk_infer.model.kinds.onnx_pictures import OnnxPictures
from itk_infer.options import Options

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("pydicom", reason="pydicom writes the files")
from support.classify_files import CLASSIFY, answer, brightness_network, grey_dicom


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, share in enumerate((0.2, 0.9)):
        grey_dicom(tmp_path / f"in/{number}.dcm", share, number)
    brightness_network(tmp_path / "m.onnx", CLASSIFY)
    return tmp_path


def classify(folder: Path, *words: str) -> int:
    return main(["classify", "-i", str(folder / "in"), "-m", str(folder / "m.onnx"), "--device", "cpu", *words])


def probabilities(database: Path) -> dict[tuple[str, int, str], tuple[float, float | None]]:
    with sqlite3.connect(database) as db:
        found = db.execute(
            "SELECT f.path, i.frame, l.name, p.probability, p.std FROM predictions p JOIN images i ON i.id = p.image "
            "JOIN files f ON f.id = i.file JOIN labels l ON l.model = p.model AND l.label = p.label"
        ).fetchall()
    db.close()
    return {(path, frame, label): (value, std) for path, frame, label, value, std in found}


def test_a_run_and_its_rerun(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify(folder, "-o", str(folder / "out"), "--verbose") == 0
    words = capsys.readouterr().err
    assert "2 files: 2 to read, 0 already done" in words
    assert "2 images of 2 files" in words
    assert f"results: {folder / 'out/results.db'}" in words
    assert classify(folder, "-o", str(folder / "out"), "--resume", "--quiet") == 0
    assert "2 already done" in capsys.readouterr().err
    found = probabilities(folder / "out/results.db")
    assert found["0.dcm", 0, "bright"][0] == pytest.approx(answer(0.2), abs=1e-4)


def test_a_database_of_another_name(folder: Path) -> None:
    assert classify(folder, "--db", str(folder / "other/my.db"), "--threshold", "0.25", "--batch-size", "2") == 0
    assert len(probabilities(folder / "other/my.db")) == 2
    with sqlite3.connect(folder / "other/my.db") as db:
        assert db.execute("SELECT threshold FROM labels").fetchall() == [(0.25,)]
    db.close()


def test_a_dry_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify(folder, "-o", str(folder / "out"), "--dry-run") == 0
    assert "2 files: 2 to read, 0 already done" in capsys.readouterr().out
    assert not (folder / "out").exists()


def test_a_network_that_nothing_can_run_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx", reason="changes the model")
    model = onnx.load(folder / "m.onnx")
    model.graph.node[-1].op_type = "NoSuchOperation"
    onnx.save(model, folder / "m.onnx")
    for words in (["--dry-run"], ["--num-proc", "1", "--threads", "1"], []):
        assert classify(folder, "-o", str(folder / "out"), *words) == ModelError.exit_code
        assert "NoSuchOperation" in capsys.readouterr().err
        assert (folder / "out").exists() is (words == [])


def test_events_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in/bad.dcm").write_bytes(b"x")
    assert classify(folder, "-o", str(folder / "out"), "--progress", "json") == 3
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == [
        "run_started",
        "case_failed",
        "run_done",
    ]
    assert events[-1] | {"done": 2, "failed": 1, "exit_code": 3} == events[-1]


def test_many_failures_are_not_all_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(25):
        (folder / f"in/bad{number}.dcm").write_bytes(b"x")
    (folder / "in/notes.txt").write_text("words", "utf-8")
    assert classify(folder, "-o", str(folder / "out")) == 3
    words = capsys.readouterr().err
    assert words.count("FAILED") == 20
    assert "more files fail" in words
    assert classify(folder, "-o", str(folder / "out"), "--verbose", "--progress", "bar", "--overwrite") == 3
    words = capsys.readouterr().err
    assert words.count("FAILED") == 25
    assert "notes.txt: skipped" in words


def test_progress_is_printed_now_and_then(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from itk_infer.cli import classify_progress
    from itk_infer.events import Progress, RunDone, RunStarted

    for bar in (False, True):
        listener = classify_progress.ClassifyLines(quiet=False, verbose=False, bar=bar)
        listener(RunStarted("1", 30, 10, 1, "cpu", "m"))
        listener._said -= classify_progress.PAUSE_S
        listener(Progress("m", 0, "classify", 5, 20, 12.0))
        listener(Progress("m", 0, "classify", 6, 20, None))
        listener(RunDone(20, 0, 10, 1.0, 0))
        words = capsys.readouterr().err
        assert ("5 of 20 files, about 12 s left" in words) is not bar
        assert ("5/20" in words or "6/20" in words) is bar


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["-o", "OUT", "--overwrite", "--resume"], 2),
        (["-o", "OUT", "--quiet", "--verbose"], 2),
        (["-o", "FILE"], 2),
        (["-o", "OUT", "--threshold", "2"], 2),
        (["-o", "OUT", "--jobs", "2"], 2),
        (["-o", "OUT", "--batch-size", "many"], 2),
        (["-o", "OUT", "--batch-size", "2", "--no-batch-cache"], 2),
    ],
    ids=["place", "both", "loud", "file", "threshold", "jobs", "batch", "cache"],
)
def test_what_cannot_be_asked(folder: Path, words: list[str], code: int) -> None:
    (folder / "file").write_text("x", "utf-8")
    places = {"OUT": str(folder / "out"), "FILE": str(folder / "file")}
    assert classify(folder, *(places.get(word, word) for word in words)) == code
    assert not (folder / "out").exists()


def test_defaults_in_the_help_are_those_of_the_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from itk_infer.classify.batch import ON_CPU
    from itk_infer.classify.saliency.settings import SaliencySettings
    from itk_infer.classify.tables.write import TableSettings
    from itk_infer.cli.executors import JOB_OPTIONS, make_executor

    assert main(["classify", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"default {ON_CPU} on a CPU" in words
    assert f"[default: {TableSettings().group_by}]" in words
    assert f"[default: {SaliencySettings(('gradcam',)).wanted}]" in words
    options = {**dict.fromkeys((*JOB_OPTIONS, "num_proc", "gpus", "gpu_ids", "scheduler", "threads"))}
    source: Any = ClassifierRequest((tmp_path,), None, Options(), tmp_path)
    jobs: Any = make_executor(source, tmp_path, None, **options | {"cluster": "slurm", "sbatch": ()})
    for name, flag in {"jobs": "Jobs at a time", "cores": "Cores of a job", "memory": "Memory of a job"}.items():
        assert f"{flag}; default {getattr(jobs._cluster, name)}." in words
    assert f"Time limit of a job; default {jobs._cluster.walltime}." in words


def test_a_time_limit_means_a_worker_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[Any] = []

    def ended(self: Workers, check: Any) -> Any:
        limits.append((self.workers, self.case_timeout))
        raise ModelError("enough")

    monkeypatch.setattr(Workers, "open", ended)
    assert classify(folder, "-o", str(folder / "out"), "--case-timeout", "600") == ModelError.exit_code
    assert limits == [(1, 600.0)]


def test_workers_and_saliency_of_another_precision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers agree on a precision; the process that explains what they found has fp32, near which that must be."""
    asked = list[str]()
    monkeypatch.setattr(OnnxPictures, "in_precision", lambda self, precision: asked.append(precision))
    words = ["--num-proc", "1", "--threads", "1", "--saliency", "occlusion", "--fp16"]
    assert classify(folder, "-o", str(folder / "out"), *words) == 0
    assert asked == ["fp32"]


def test_worker_processes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(folder / "out")
    assert classify(folder, "-o", out, "--num-proc", "2", "--threads", "1", "--saliency", "occlusion") == 0
    assert "2 images of 2 files" in capsys.readouterr().err
    assert probabilities(folder / "out/results.db")["0.dcm", 0, "bright"][0] == pytest.approx(
        answer(0.2), abs=1e-4
    )
    assert (folder / "out/studies.csv").is_file()
    (panel,) = (path.relative_to(folder / "out") for path in (folder / "out/saliency").rglob("*.png"))
    assert classify(folder, "-o", str(folder / "alone"), "--quiet", "--saliency", "occlusion") == 0
    for name in (panel, panel.with_suffix(".npz"), "saliency/all_slice_saliency_scores.csv"):
        assert (folder / "alone" / name).read_bytes() == (folder / "out" / name).read_bytes()
    capsys.readouterr()
    assert classify(folder, "-o", out, "--num-proc", "1", "--quiet") == 0
    assert "2 already done" in capsys.readouterr().err


def test_a_folder_that_is_not_there(folder: Path) -> None:
    words = ["-m", str(folder / "m.onnx"), "-o", str(folder / "out")]
    assert main(["classify", "-i", str(folder / "none"), *words]) == 2


def test_a_stop_keeps_what_is_committed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itk_infer.classify import database

    record = database.ResultsDatabase.record

    def record_and_stop(self: Any, *words: Any, **options: Any) -> None:
        record(self, *words, **options)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(database.ResultsDatabase, "record", record_and_stop)
    for number in range(2, 6):
        grey_dicom(folder / f"in/{number}.dcm", 0.5, number)
    assert classify(folder, "-o", str(folder / "out"), "--threads", "1") == 130
    assert len(probabilities(folder / "out/results.db")) == 1
    monkeypatch.undo()
    assert classify(folder, "-o", str(folder / "out")) == 0
    assert len(probabilities(folder / "out/results.db")) == 6


def test_inspect_shows_what_a_model_sees(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(json.dumps(CLASSIFY))
    document["input"]["channels"] = [{"slice": 1, "window": [40, 80]}]
    document["output"]["labels"] = ["any", {"name": "bright", "channel": 0, "parent": "any"}]
    document["output"]["labels"][0] = {"name": "any", "channel": 1}
    document["select"] = [{"keyword": "Modality", "in": ["CT"]}]
    brightness_network(folder / "ct.onnx", document, shape=("n", 1, 8, 8))
    assert main(["inspect", "-m", str(folder / "ct.onnx"), "--device", "cpu"]) == 2, "output 1 is not there"
    document["output"]["labels"] = [{"name": "any", "channel": 0}]
    brightness_network(folder / "ct.onnx", document)
    assert main(["inspect", "-m", str(folder / "ct.onnx"), "--device", "cpu"]) == 0
    words = capsys.readouterr().out
    for part in (
        "slice 1 window [40.0, 80.0]",
        "Modality in CT",
        "any, positive from 0.5",
        "ct.onnx: fp32 on cpu",
    ):
        assert part in words
    assert main(["inspect", "-m", str(folder / "m.onnx"), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "classify"


def test_inspect_finds_a_spec_inside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load(brightness_network(tmp_path / "m.onnx"))
    onnx.helper.set_model_props(model, {"itk_infer": json.dumps(CLASSIFY)})
    onnx.save(model, tmp_path / "m.onnx")
    assert main(["inspect", "-m", str(tmp_path / "m.onnx"), "--device", "cpu"]) == 0
    assert "classify" in capsys.readouterr().out


def test_the_python_api(folder: Path) -> None:
    classifier = Classifier.load(folder / "m.onnx", device="cpu")
    (scores,) = classifier(folder / "in/1.dcm")
    assert scores.probabilities == {"bright": pytest.approx(answer(0.9), abs=1e-4)}
    assert (scores.positive, scores.std) == (("bright",), {})
    from itk_infer.errors import InputError

    (folder / "in/notes.txt").write_text("words", "utf-8")
    with pytest.raises(InputError, match=r"notes\.txt: no picture"):
        classifier(folder / "in/notes.txt")


def expected_images(shared: Path) -> list[dict[str, str]]:
    with (shared / "classify/expected/cxr2_images.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_chest_radiographs_and_their_mirror_images(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs", reason="the decoders are not installed")
    data = shared / "classify"
    wanted = json.loads((data / "expected/cxr2_densenet_mirrored.json").read_text("utf-8"))
    spec = json.loads((data / "models/cxr2_densenet.classify.json").read_text("utf-8"))
    spec["output"]["mirrored"] = True
    (tmp_path / "both.json").write_text(json.dumps(spec), "utf-8")
    both = Classifier.load(data / "models/cxr2_densenet.onnx", device="cpu", spec=tmp_path / "both.json")
    for name, expected in wanted.items():
        (scores,) = both(data / "cxr_studies" / name)
        assert list(scores.probabilities.values()) == pytest.approx(expected["mean"], abs=1e-4)


@pytest.mark.parametrize("network", ["densenet", "seresnext"])
def test_chest_radiographs(network: str, shared: Path, tmp_path: Path) -> None:
    """Probabilities, states and studies of the shared archive, whose traps are listed beside it."""
    pytest.importorskip("imagecodecs", reason="the decoders are not installed")
    data, database = shared / "classify", tmp_path / "out/results.db"
    words = [
        "-i",
        str(data / "cxr_studies"),
        "-m",
        str(data / f"models/cxr2_{network}.onnx"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(["classify", *words, "--device", "cpu", "--quiet"]) == 3
    found = probabilities(database)
    compared = 0
    for row in expected_images(shared):
        for label in ("pneumonia", "needle") if row["state"] == "done" else ():
            wanted = float(row[f"{network}_{label}"])
            assert found[row["file"], int(row["frame"]), label][0] == pytest.approx(wanted, abs=1e-4)
            compared += 1
    assert compared == 102
    with sqlite3.connect(database) as db:
        states = dict(db.execute("SELECT path, state FROM files"))
        marks = db.execute(
            "SELECT f.path, i.state FROM images i JOIN files f ON f.id = i.file WHERE same_as NOT NULL"
        )
        assert dict(marks) == {
            "copies/copy_of_study_a_1.dcm": "copy",
            "copies/conflict_with_study_a_2.dcm": "conflict",
        }
        studies = db.execute(
            "SELECT i.study, l.name, max(p.probability), count(*) FROM images i JOIN predictions p ON p.image = i.id "
            "JOIN labels l ON l.label = p.label WHERE i.state = 'counted' GROUP BY i.study, l.name"
        ).fetchall()
        failed = dict(db.execute("SELECT path, study FROM files WHERE state = 'failed'"))
    db.close()
    for row in expected_images(shared):
        assert states.pop(row["file"], "done") == row["state"].replace("duplicate", "done")
    assert states == {"study_b/notes.txt": "skipped"}
    expected = json.loads((data / "expected/cxr2_studies.json").read_text("utf-8"))
    wanted = {uid: about for uid, about in expected["studies"].items() if about["images"]}
    assert {study for study, *_ in studies} == set(wanted)
    for study, label, largest, images in studies:
        about = wanted[study]
        assert images == about["images"]
        assert largest == pytest.approx(about[network]["max"][expected["labels"].index(label)], abs=1e-4)
        assert (largest >= 0.5) == bool(about["true_needle"]) or label != "needle"
    assert failed["partly/IM0003.dcm"] in wanted
    assert failed["unreadable/IM0001.dcm"] == "folder:unreadable"


def test_an_ensemble_that_sees_neighbours(shared: Path, tmp_path: Path) -> None:
    """255 slices of 5 series by 3 + 2 networks: mean of means, deviation over all five, order by position."""
    pytest.importorskip("imagecodecs", reason="the decoders are not installed")
    data = shared / "classify"
    words = [
        "-i",
        str(data / "hippo_series"),
        "-m",
        str(data / "models/hippo6_ensemble.json"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(["classify", *words, "--device", "cpu", "--quiet"]) == 0
    found = probabilities(tmp_path / "out/results.db")
    with (data / "expected/hippo6_slices.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 255
    for row in rows:
        for label in ("any", "anterior", "posterior", "junction", "large", "small"):
            mean, std = found[row["file"], 0, label]
            assert mean == pytest.approx(float(row[label]), abs=1e-4)
            assert std == pytest.approx(float(row[f"std_{label}"]), abs=1e-4)
