"""The same command on a Dask cluster: worker processes on this machine, and SLURM where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.batch.events import CaseDone, CaseStarted, Events
from itk_infer.batch.run import run_cases
from itk_infer.cli.group import main

distributed = pytest.importorskip("distributed")
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
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
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

        monkeypatch.setattr("itk_infer.batch.run.run_cases", run)
        assert main((*MAIN, "--scheduler", cluster.scheduler_address, "--threads", "1")) == 0
    assert killed
    assert sorted(done) == [f"{index:02d}.mha" for index in range(CASES)]
    assert len(list((work / "out").glob("*.mha"))) == CASES
    assert main((*MAIN, "--dry-run")) == 0  # the ledger was kept here, and a run here knows all of it
    assert capfd.readouterr().out.count("already done") == CASES


def test_no_scheduler_there_is_one_sentence(work, monkeypatch, capfd):
    monkeypatch.setattr("itk_infer.batch.cluster.CONNECT_S", 0.5)
    assert main((*MAIN, "--scheduler", "tcp://127.0.0.1:9")) == 2
    assert "no Dask scheduler answers" in capfd.readouterr().err


def _slurm_answers() -> bool:
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo"], capture_output=True, timeout=20, check=False).returncode == 0


@pytest.mark.skipif(not _slurm_answers(), reason="no SLURM answers on this machine")
def test_slurm_jobs_complete_every_case(work):
    pytest.importorskip("dask_jobqueue")
    words = (
        "--cluster",
        "slurm",
        "--jobs",
        "1",
        "--cores-per-job",
        "1",
        "--memory",
        "1GB",
        "--walltime",
        "00:10:00",
    )
    began = time.monotonic()
    assert main((*MAIN, *words)) == 0
    assert len(list((work / "out").glob("*.mha"))) == CASES
    assert time.monotonic() - began < 250
