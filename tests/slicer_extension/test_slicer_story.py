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
from ItkInferLib.story import Story, duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(*events, clock=None) -> Story:
    story = Story(clock or Clock())
    for event in events:
        story.take(event)
    return story


def test_before_the_plan_nothing_is_known():
    assert told().fraction is None
    assert told().eta_s is None


def test_one_case_from_start_to_end():
    story = told(RunStarted(cases=1, device="cpu"), CaseStarted(case="a", windows=4))
    assert (story.fraction, story.eta_s, story.cases["a"].state) == (0.0, None, "running")
    story.take(Progress(case="a", done=1, total=4, eta_s=6.0))
    assert (story.fraction, story.eta_s, story.cases["a"].note) == (0.25, 6.0, "25 %")
    story.take(CaseDone(case="a", outputs=("x",), seconds=8.04, confidence=0.9, volumes_ml={"l": 1.0}))
    assert (story.fraction, story.cases["a"].state, story.cases["a"].note) == (1.0, "done", "8.0 s")
    assert story.cases["a"].outputs == ("x",)


def test_a_folder_counts_every_end_and_keeps_reasons():
    story = told(
        RunStarted(cases=4),
        CaseSkipped(case="a", reason="already done"),
        CaseStarted(case="b"), CaseFailed(case="b", reason="is cut off"),
        CaseStarted(case="c"), Progress(case="c", done=1, total=2, eta_s=1.0),
        Warned("look"),
    )  # fmt: skip
    assert story.fraction == pytest.approx((2 + 0.5) / 4)
    assert story.reasons == ["is cut off"]
    assert [story.count(state) for state in ("done", "failed", "skipped", "running")] == [0, 1, 1, 1]
    assert story.warnings == ["look"]
    story.stop()
    assert story.cases["c"].state == "skipped"
    story.take(RunDone(exit_code=143))
    assert story.ended is not None


def test_the_time_left_of_a_folder_is_the_pace_times_the_rest():
    clock = Clock()
    story = told(RunStarted(cases=4), clock=clock)
    story.take(CaseStarted(case="a"))
    clock.now += 10
    story.take(CaseDone(case="a"))
    story.take(CaseStarted(case="b"))
    clock.now += 5
    story.take(Progress(case="b", done=1, total=2, eta_s=5.0))
    # 1.5 cases in 15 s: half of b and two more are 2.5 cases, at 10 s each.
    assert story.eta_s == pytest.approx(25.0)


def test_the_time_left_in_the_first_case_guesses_that_all_are_alike():
    clock = Clock()
    story = told(RunStarted(cases=3), CaseStarted(case="a"), clock=clock)
    clock.now += 4
    story.take(Progress(case="a", done=1, total=2, eta_s=4.0))
    assert story.eta_s == pytest.approx(4 + 2 * 8)


def test_a_total_of_nothing_divides_nothing():
    assert told(RunStarted(cases=0), Progress(case="a", done=1, total=0)).fraction is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599.6, "1 h 00 min"), (7384, "2 h 03 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
