from __future__ import annotations

import json

import pytest
from ItkInferLib import events

from itk_infer import events as program

SAID = [
    program.RunStarted("0.1.0", 3, 1, 1, "cpu", "net"),
    program.CaseStarted("a.mha", 0, (4, 5, 6), 8),
    program.Progress("a.mha", 0, "windows", 2, 8, 1.5),
    program.Progress("a.mha", 0, "windows", 2, 8, None),
    program.CaseDone("a.mha", ("/o/a.seg.nrrd",), 2.5, None, {"liver": 12.5}, {"read": 0.1}),
    program.CaseFailed("b.mha", "is cut off", 1),
    program.CaseSkipped("c.mha", "already done"),
    program.Warned("look"),
    program.RunDone(1, 1, 1, 9.0, 3),
]


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_what_the_program_says_is_understood_to_the_field(said):
    heard = events.parse(json.dumps(program.to_json(said, "run")))
    assert type(heard).__name__ == type(said).__name__
    for name in vars(heard):
        assert getattr(heard, name) == getattr(said, name)


def test_every_event_of_the_program_is_known():
    names = {program.to_json(said, "")["event"] for said in SAID}
    assert names == set(events.KINDS)


@pytest.mark.parametrize(
    "line",
    ["", "hello", "{", '{"event": "progr', "[]", "3", "null", '{"event": "later"}', '{"event": 3}', '{"event": []}',
     '{"event": null}', pytest.param("[" * 100000, id="deep"), "\ufffd\ufffd", '{"other": 1}'],
)  # fmt: skip
def test_noise_is_no_event(line):
    assert events.parse(line) is None


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('{"event": "progress"}', events.Progress()),
        ('{"event": "progress", "done": "7", "total": 4, "eta_s": "soon"}', events.Progress(total=4)),
        ('{"event": "progress", "eta_s": NaN, "done": Infinity}', events.Progress()),
        ('{"event": "progress", "done": true, "new": {"field": 1}}', events.Progress()),
        ('{"event": "case_done", "outputs": ["a", 3], "volumes_ml": {"x": 1, "y": null}}',
         events.CaseDone(outputs=("a",), volumes_ml={"x": 1})),
        ('{"event": "case_done", "outputs": "a", "volumes_ml": []}', events.CaseDone()),
        ('{"event": "run_started", "cases": 2.0, "model": null}', events.RunStarted(cases=2)),
    ],
    ids=["missing", "text", "no number", "true", "in a list", "no list", "null"],
)  # fmt: skip
def test_fields_of_another_type_keep_their_default(line, event):
    assert events.parse(line) == event
