"""The same command on a Dask cluster: worker processes on this machine, and SLURM where it is installed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.local_cluster import local_cluster_of
from support.one_node_slurm import answers, one_node_slurm, why_not

from itk_infer.cli.main import main
from itk_infer.events import CaseDone, CaseStarted, Events
from itk_infer.run.folder import run_cases

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
CASES = 20


@pytest.fixture
def work(tmp_path, monkeypatch):
    helper = pytest.importorskip("onnx").helper
    kind = pytest.importorskip("onnx").TensorProto.FLOAT
    nodes = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Concat", ["m", "x"], ["y"], axis=1)]
    shape = ("z", "y", "x_")
    taken = [helper.make_tensor_value_info("x", kind, ("n", 1, *shape))]
    given = [helper.make_tensor_value_info("y", kind, ("n", 2, *shape))]
    model = helper.make_model(
        helper.make_graph(nodes, "g", taken, given), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    helper.set_model_props(model, {"itk_infer": '{"spec": 1, "window": {"patch_size": [8, 8, 8]}}'})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "scans").mkdir()
    for index in range(CASES):
        array = np.random.default_rng(index).normal(0, 9, (24, 24, 24)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "scans" / f"{index:02d}.mha"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


MAIN = ("-i", "scans", "-o", "out", "--onnx", "model.onnx", "--device", "cpu")


def test_a_cluster_that_loses_a_worker_finishes_every_case_once(work, monkeypatch, capfd):
    """By the command line, with a worker process killed as soon as it has a case."""
    done, killed = [], []
    with local_cluster_of(2) as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            pids = client.run(os.getpid)

        def watch(event):
            if isinstance(event, CaseStarted) and not killed:
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)
            if isinstance(event, CaseDone):
                done.append(event.case)

        def run(executor, settings, events, *rest):
            return run_cases(executor, settings, Events([*events.listeners, watch], events.run), *rest)

        monkeypatch.setattr("itk_infer.run.folder.run_cases", run)
        assert main((*MAIN, "--scheduler", cluster.scheduler_address, "--threads", "1")) == 0
    assert killed
    assert sorted(done) == [f"{index:02d}.mha" for index in range(CASES)]
    assert len(list((work / "out").glob("*.mha"))) == CASES
    assert main((*MAIN, "--dry-run")) == 0  # the ledger was kept here, and a run here knows all of it
    assert capfd.readouterr().out.count("already done") == CASES


def test_no_scheduler_there_is_one_sentence(work, monkeypatch, capfd):
    monkeypatch.setattr("itk_infer.executors.dask_cluster.CONNECT_S", 0.5)
    assert main((*MAIN, "--scheduler", "tcp://127.0.0.1:9")) == 2
    assert "no Dask scheduler answers" in capfd.readouterr().err


@pytest.fixture(scope="module")
def slurm_environment():
    """Variables for a SLURM to submit to: the one that is there, or one of this node alone."""
    pytest.importorskip("dask_jobqueue")
    if answers():
        yield {}
    elif reason := why_not():
        pytest.skip(reason)
    else:
        with ExitStack() as stack:
            try:
                environment = stack.enter_context(one_node_slurm())
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                pytest.skip(f"SLURM is installed, but does not start: {error}")
            yield environment


@pytest.fixture
def slurm(slurm_environment, monkeypatch):
    for name, value in slurm_environment.items():
        monkeypatch.setenv(name, value)


JOBS = ("--cluster", "slurm", "--cores-per-job", "1", "--memory", "1GB", "--walltime", "00:10:00", "--jobs", "2")


def test_slurm_jobs_complete_every_case(work, slurm):
    assert main((*MAIN, *JOBS)) == 0
    assert len(list((work / "out").glob("*.mha"))) == CASES
    deadline = time.monotonic() + 300
    while subprocess.run(["squeue", "-h"], capture_output=True, check=True).stdout:
        assert time.monotonic() < deadline, "jobs stay behind"
        time.sleep(0.3)
    assert {path.suffix for path in (work / "out").iterdir()} == {".mha", ".csv", ".db"}


def test_a_job_that_is_cancelled_is_replaced(work, slurm, monkeypatch):
    cancelled, done = [], []

    def watch(event):
        if isinstance(event, CaseStarted) and not cancelled:
            jobs = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True)
            cancelled.append(min(jobs.stdout.split(), key=int))
            subprocess.run(["scancel", "--signal=KILL", "--full", cancelled[0]], check=True)
        if isinstance(event, CaseDone):
            done.append(event.case)

    def run(executor, settings, events, *rest):
        return run_cases(executor, settings, Events([*events.listeners, watch], events.run), *rest)

    monkeypatch.setattr("itk_infer.run.folder.run_cases", run)
    # How long Dask hopes that a worker which it has lost comes back; then it submits another job.
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        assert main((*MAIN, *JOBS[:-1], "1")) == 0
    assert cancelled
    assert sorted(done) == [f"{index:02d}.mha" for index in range(CASES)]


def states_at_the_end(job):
    """The states of a job, or of all tasks of an array; ``sbatch --wait`` looks every few seconds only."""
    deadline = time.monotonic() + 600
    while True:
        shown = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, check=True)
        states = set(re.findall(r"\bJobState=(\w+)", shown.stdout.decode()))
        if not states & {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}:
            return states
        assert time.monotonic() < deadline, states
        time.sleep(0.2)


@pytest.fixture
def submitted(tmp_path):
    """Submits a script of deploy/ with the words it takes, and waits for its job; returns the number of the job."""
    program = tmp_path / "bin" / "itk_infer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m itk_infer "$@"\n')
    program.chmod(0o755)

    def submit(script, options, *words):
        command = ["sbatch", "--parsable", "--cpus-per-task=1", "--mem=1G", "--time=00:05:00", *options]
        done = subprocess.run(
            [*command, str(Path(__file__).resolve().parents[2] / "deploy" / script), *words],
            env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=200,
        )
        job = done.stdout.strip()
        assert states_at_the_end(job) == {"COMPLETED"}, [path.read_text() for path in Path.cwd().glob("*.log")]
        return job

    return submit


def test_an_array_job_of_shards(work, slurm, submitted):
    submitted(
        "slurm_array.sbatch", ["--array=1-3"], "scans", "out", "model.onnx", "--device", "cpu", "--threads", "1"
    )
    assert len(list((work / "out").glob("*.mha"))) == CASES
    assert len(list((work / "out").glob("itk_infer.shard-?-of-3.db"))) == 3
    assert main(("report", "out")) == 0
    assert main((*MAIN, "--dry-run")) == 0


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Pictures and a classifier; what a run in this process says of them."""
    pytest.importorskip("PIL", reason="writes the pictures")
    from support.classifier_files import make_archive, make_classifier

    make_classifier(tmp_path / "model.onnx")
    make_archive(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert main((*CLASSIFY, "-o", "here", "--threads", "1")) == 0
    return Path("here", "images.csv").read_bytes()


CLASSIFY = ("classify", "-i", "in", "-m", "model.onnx", "--device", "cpu")


def test_slurm_jobs_classify_every_picture(archive, slurm):
    assert main((*CLASSIFY, "-o", "out", *JOBS)) == 0
    assert Path("out", "images.csv").read_bytes() == archive


def test_a_job_that_classifies(archive, slurm, submitted):
    job = submitted("classify.sbatch", [], "in", "model.onnx", "runs", "--device", "cpu")
    assert Path("runs", job, "images.csv").read_bytes() == archive
    assert list(Path("runs", job, "saliency").rglob("*.png"))
