"""Tests that every executor must pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from itk_infer.errors import ModelError
from itk_infer.events import CaseDone, CaseFailed, CaseStarted, Event, Events, Progress, RunStarted
from itk_infer.executors.executor import Executor
from itk_infer.files.lock_owner import this_process
from itk_infer.run.folder import run_cases
from itk_infer.run.ledger import Ledger
from itk_infer.run.settings import RunSettings
from itk_infer.run.summary import Summary
from itk_infer.testing.faulty import Clock, FaultyModel, interrupt_at, marked


class Batch:
    """A folder of small scans, and runs over it; `FaultyModel` labels their voxels above zero."""

    def __init__(self, folder: Path, make: Callable[[FaultyModel, float | None], Executor]) -> None:
        self.source, self.output, self.scratch = folder / "in", folder / "out", folder / "scratch"
        self.source.mkdir()
        self.scratch.mkdir()
        self.events: list[Any] = []
        self._make = make

    def scan(self, name: str, seed: int = 0, fault: str = "") -> NDArray[np.int16]:
        """Write a scan, (Z, Y, X), on which the model fails in the given way."""
        array: NDArray[np.int16] = np.random.default_rng(seed).normal(0, 100, (6, 7, 8)).astype(np.int16)
        image = sitk.GetImageFromArray(marked(array, fault) if fault else array)
        image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))  # LPI, as the label map
        sitk.WriteImage(image, str(self.source / name))
        return array

    def run(
        self,
        *,
        on_event: Callable[[Event], None] = lambda event: None,
        timeout: float | None = None,
        **model: Any,
    ) -> Summary:
        """Run over the folder; `model` are options of `FaultyModel`."""
        self.events = []
        settings = RunSettings(self.source, self.output)
        executor = self._make(FaultyModel(self.scratch, **model), timeout)
        return run_cases(executor, settings, Events([self.events.append, on_event]))

    def of(self, kind: type) -> list[Any]:
        """Events of one kind in the last run."""
        return [event for event in self.events if isinstance(event, kind)]

    def states(self) -> dict[str, tuple[str, int]]:
        """State and number of attempts of each case, from the ledger."""
        ledger = Ledger(self.output, read_only=True)
        states = {name: (record.state, record.attempts) for name, record in ledger.cases().items()}
        ledger.close()
        return states

    def labels(self, name: str) -> NDArray[Any]:
        """The label map of a case."""
        array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(self.output / name)))
        return array

    def leftovers(self) -> list[str]:
        """Files that runs must not leave behind."""
        names = [path.name for path in self.output.iterdir()]
        return [name for name in names if "partial" in name or name.endswith(".lock")]


class ExecutorTests:
    """Tests of an executor: subclass this class and implement `make`.

    Attributes:
        workers: Number of cases that can run at the same time.
        apart: Whether cases are computed in processes other than the run's, which may be killed or hang.
        clocks: Modules whose ``time`` determines the duration of a case; a test moves it forward.
    """

    workers = 1
    apart = True
    clocks: tuple[ModuleType, ...] = ()

    def make(self, model: FaultyModel, timeout: float | None) -> Executor:
        """Make the executor under test.

        Args:
            model: The model to load; must be importable in workers.
            timeout: Time limit per case in seconds; None: no limit.
        """
        raise NotImplementedError

    @pytest.fixture
    def batch(self, tmp_path: Path) -> Batch:
        """An empty folder of scans, and runs over it by the executor under test."""
        return Batch(tmp_path, self.make)

    def test_every_case_is_done_once(self, batch: Batch) -> None:
        """The next run does not compute them again."""
        arrays = {f"{index}.mha": batch.scan(f"{index}.mha", index) for index in range(6)}
        summary = batch.run()
        assert sorted(summary.done) == sorted(arrays)
        assert (summary.exit_code, len(batch.of(CaseDone))) == (0, 6)
        for name, array in arrays.items():
            np.testing.assert_array_equal(batch.labels(name), array > 0)
        assert set(batch.states().values()) == {("done", 1)}
        assert batch.of(RunStarted)[0].workers == self.workers
        assert len(batch.run().skipped) == 6

    def test_what_happens_to_a_case_is_reported_in_order(self, batch: Batch) -> None:
        """The events of one worker are in order."""
        for index in range(3):
            batch.scan(f"{index}.mha", index)
        batch.run()
        for name in ("0.mha", "1.mha", "2.mha"):
            events = [event for event in batch.events if getattr(event, "case", None) == name]
            assert [type(event) for event in events] == [CaseStarted, Progress, CaseDone]
            assert len({event.worker for event in events}) == 1

    @pytest.mark.parametrize(
        ("fault", "words"),
        [("raise", "a surprise"), ("nan", "NaN"), ("memory", "not enough memory"), ("shape", "shape")],
    )
    def test_a_case_that_fails_is_one_failure(self, batch: Batch, fault: str, words: str) -> None:
        """The case is not tried again, and the others are done."""
        batch.scan("a.mha", fault=fault)
        (batch.source / "b.mha").touch()
        batch.scan("c.mha")
        summary = batch.run()
        assert summary.done == ["c.mha"]
        assert summary.exit_code == 3
        assert words in summary.failed["a.mha"]
        assert batch.states() == {"a.mha": ("failed", 1), "b.mha": ("failed", 1), "c.mha": ("done", 1)}
        assert not batch.leftovers()

    def test_a_run_that_is_stopped_leaves_nothing_half_done(self, batch: Batch) -> None:
        """The next run computes the rest."""
        for index in range(8):
            batch.scan(f"{index}.mha", index)
        # 18 windows per case, which take nine seconds: on any machine, a case is running when the stop comes.
        small: dict[str, Any] = {"patch": (4, 4, 4)}

        interrupt = interrupt_at(lambda event: isinstance(event, CaseStarted))
        summary = batch.run(on_event=interrupt, pause=0.5, **small)
        assert summary.exit_code == 130
        states = {state for state, _ in batch.states().values()}
        assert states <= {"done", "interrupted", "waiting"}
        assert "interrupted" in states
        assert not batch.leftovers()
        assert batch.run(**small).exit_code == 0
        assert {state for state, _ in batch.states().values()} == {"done"}

    def test_a_model_that_cannot_be_loaded_is_an_error_at_once(self, batch: Batch) -> None:
        """The error is raised before there is an output folder."""
        batch.scan("a.mha")
        with pytest.raises(ModelError, match="weights are gone"):
            batch.run(loading="raise")
        assert not batch.output.exists()

    @pytest.mark.skipif(os.name != "posix", reason="kills by signal")
    def test_a_dead_worker_costs_its_case_a_second_attempt(self, batch: Batch) -> None:
        """There is no third attempt, and no second one for other cases."""
        if not self.apart:
            pytest.skip("its end is that of the program")
        batch.scan("a.mha", fault="kill_once")
        batch.scan("b.mha", fault="kill")
        for index in range(4):
            batch.scan(f"{index}.mha", index)
        summary = batch.run()
        assert sorted(summary.done) == ["0.mha", "1.mha", "2.mha", "3.mha", "a.mha"]
        assert batch.states()["a.mha"] == ("done", 2)
        assert batch.states()["b.mha"] == ("failed", 2)
        assert len(batch.of(CaseFailed)) == 1
        assert not batch.leftovers()

    def test_a_case_that_hangs_fails_by_its_time(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        """The other cases are done."""
        if not self.apart:
            pytest.skip("nothing outside it can end it")
        if not self.clocks:
            pytest.skip("its clock cannot be put forward")
        batch.scan("a.mha", fault="hang")
        batch.scan("b.mha")
        clock = Clock(monkeypatch, *self.clocks)

        def on_event(event: Event) -> None:
            if {item.case for item in batch.of(CaseStarted)} == {"a.mha", "b.mha"} and batch.of(CaseDone):
                clock.forward(600)

        summary = batch.run(timeout=600, on_event=on_event)
        assert summary.done == ["b.mha"]
        assert "`case_timeout`" in summary.failed["a.mha"]

    def test_a_run_that_has_lost_its_lock_writes_nothing_more(self, batch: Batch) -> None:
        """No masks, rows or tables are written, and the new holder's lock stays."""
        for index in range(6):
            batch.scan(f"{index}.mha", index)
        lock = batch.output / "itk_infer.lock"
        seen: dict[str, bytes] = {}

        def visible() -> dict[str, bytes]:
            return {path.name: path.read_bytes() for path in batch.output.glob("[!.]*")}

        def steal(event: Event) -> None:
            if isinstance(event, CaseDone) and not seen:
                new = lock.with_name("new lock")  # renamed when complete
                new.write_bytes(replace(this_process(), host="elsewhere").to_bytes())
                new.replace(lock)
                seen.update(visible())

        summary = batch.run(on_event=steal, pause=0.3)
        assert (summary.exit_code, len(summary.done)) == (2, 1)
        assert "on elsewhere has taken over itk_infer.lock" in summary.problem
        assert visible() == seen
        assert batch.events[-1].exit_code == 2
