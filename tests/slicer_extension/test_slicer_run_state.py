from __future__ import annotations

import pytest
from ItkInferLib.events import (
    CaseDone,
    CaseFailed,
    CaseSkipped,
    CaseStarted,
    Progress,
    RunDone,
    RunStarted,
    Warned,
)
from ItkInferLib.run_state import RunState, duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(*events, clock=None) -> RunState:
    run_state = RunState(clock or Clock())
    for event in events:
        run_state.take(event)
    return run_state


def test_before_the_plan_nothing_is_known():
    assert told().fraction is None
    assert told().eta_s is None


def test_one_case_from_start_to_end():
    run_state = told(RunStarted(cases=1, device="cpu"), CaseStarted(case="a", windows=4))
    assert (run_state.fraction, run_state.eta_s, run_state.cases["a"].state) == (0.0, None, "running")
    run_state.take(Progress(case="a", done=1, total=4, eta_s=6.0))
    assert (run_state.fraction, run_state.eta_s, run_state.cases["a"].note) == (0.25, 6.0, "25 %")
    run_state.take(CaseDone(case="a", outputs=("x",), seconds=8.04, confidence=0.9, volumes_ml={"l": 1.0}))
    assert (run_state.fraction, run_state.cases["a"].state, run_state.cases["a"].note) == (1.0, "done", "8.0 s")
    assert run_state.cases["a"].outputs == ("x",)


def test_a_folder_counts_every_end_and_keeps_reasons():
    run_state = told(
        RunStarted(cases=4),
        CaseSkipped(case="a", reason="already done"),
        CaseStarted(case="b"), CaseFailed(case="b", reason="is cut off"),
        CaseStarted(case="c"), Progress(case="c", done=1, total=2, eta_s=1.0),
        Warned("look"),
    )  # fmt: skip
    assert run_state.fraction == pytest.approx((2 + 0.5) / 4)
    assert run_state.reasons == ["is cut off"]
    assert [run_state.count(state) for state in ("done", "failed", "skipped", "running")] == [0, 1, 1, 1]
    assert run_state.warnings == ["look"]
    run_state.stop()
    assert run_state.cases["c"].state == "skipped"
    run_state.take(RunDone(exit_code=143))
    assert run_state.ended is not None


def test_the_time_left_of_a_folder_is_the_pace_times_the_rest():
    clock = Clock()
    run_state = told(RunStarted(cases=4), clock=clock)
    run_state.take(CaseStarted(case="a"))
    clock.now += 10
    run_state.take(CaseDone(case="a"))
    run_state.take(CaseStarted(case="b"))
    clock.now += 5
    run_state.take(Progress(case="b", done=1, total=2, eta_s=5.0))
    # 1.5 cases in 15 s: half of b and two more are 2.5 cases, at 10 s each.
    assert run_state.eta_s == pytest.approx(25.0)


def test_the_time_left_in_the_first_case_guesses_that_all_are_alike():
    clock = Clock()
    run_state = told(RunStarted(cases=3), CaseStarted(case="a"), clock=clock)
    clock.now += 4
    run_state.take(Progress(case="a", done=1, total=2, eta_s=4.0))
    assert run_state.eta_s == pytest.approx(4 + 2 * 8)


def test_a_total_of_nothing_divides_nothing():
    assert told(RunStarted(cases=0), Progress(case="a", done=1, total=0)).fraction is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599.6, "1 h 00 min"), (7384, "2 h 03 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
