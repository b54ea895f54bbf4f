"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.case_ids import case_id
from support.disk import do_not_wait_for_the_disk
from support.made_once import made_once

# OpenMP's idle threads sleep instead of spinning, here and in the programs that tests start: with several of those on two
# cores, spinning takes time from the threads that work. It is read when torch is imported, which no conftest does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Below ``nohup`` the programs that tests start would ignore this signal, too. A signal that is handled here has its
# usual effect in them.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

if find_spec("hypothesis"):  # benchmarks/gpu/check.sh brings the packages that its own tests need
    from hypothesis import settings

    # The same examples on every machine, however long it takes over one.
    settings.register_profile("itk_infer", deadline=None, derandomize=True, database=None)
    settings.load_profile("itk_infer")

do_not_wait_for_the_disk()

# Tests whose processes coverage measures, too. Elsewhere such a process runs what tests of its parts run in this one
# (all processes together add one line in a hundred), and would take a third longer.
MEASURED_PROCESSES = ("tests/executors/", "tests/cli/test_main.py", "tests/cli/test_executors.py")
MEASURE = "COVERAGE_PROCESS_CONFIG"  # coverage's own variable; it starts in a process that has it
HOW_TO_MEASURE = os.environ.get(MEASURE)

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"
CONFIGS = REPOSITORY / "configs"

# What docs/mmengine.md tells a user to do, one epoch long and from the demo's weights. In a process of its
# own: a Runner leaves loggers and other singletons behind.
TRAIN = """
import sys
import torch
from mmengine.config import Config
from mmengine.runner import Runner

torch.set_num_threads(2)
config, data, start, folder = sys.argv[1:]
weights = torch.load(start, weights_only=True)
torch.save({"state_dict": {f"network.{k}": v for k, v in weights.items()}}, f"{folder}/start.pth")
cfg = Config.fromfile(config)
for loader in (cfg.train_dataloader, cfg.val_dataloader):
    loader.dataset.update(images=f"{data}/images", labels=f"{data}/labels")
cfg.update(work_dir=folder, load_from=f"{folder}/start.pth")
cfg.train_cfg.update(max_epochs=1, val_interval=1)
cfg.default_hooks.checkpoint.interval = 1
Runner.from_cfg(cfg).train()
"""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked ``gpu`` run where torch finds one: see benchmarks/gpu. Few have their processes measured."""
    if HOW_TO_MEASURE and item.nodeid.startswith(MEASURED_PROCESSES):
        os.environ[MEASURE] = HOW_TO_MEASURE
    else:
        os.environ.pop(MEASURE, None)
    if item.get_closest_marker("gpu") is not None:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was covered before xdist is told: its processes have ten seconds to end after that, then are killed."""
    coverage = sys.modules.get("coverage")
    measuring = coverage and coverage.Coverage.current()
    if measuring and hasattr(session.config, "workerinput"):
        measuring.stop()
        measuring.save()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    return case_id(val)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real networks and scans that lies beside a checkout, where there is one."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def configs() -> Path:
    return CONFIGS


@pytest.fixture(scope="session")
def trained_checkpoint(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo network after one more epoch on the eight hippocampus cases, as MMEngine's Runner saves it.

    With optimizer, message hub and EMA. Fits ``configs/hippocampus_unet.py``; has seen the eight cases. The processes
    of xdist share it.
    """
    pytest.importorskip("mmengine")
    return made_once(tmp_path_factory, "training", lambda folder: train(shared, folder)) / "epoch_1.pth"


def train(shared: Path, folder: Path) -> None:
    start = shared / "demo" / "hippocampus_unet_state_dict.pth"
    config = CONFIGS / "hippocampus_unet_train.py"
    command = [sys.executable, "-c", TRAIN, config, shared / "hippocampus", start, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
