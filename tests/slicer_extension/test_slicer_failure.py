from __future__ import annotations

import os
import re
import shutil
import time

import pytest
from ItkInferLib.command import Model, Options, Run
from ItkInferLib.failure import explain
from ItkInferLib.task import Task


@pytest.mark.parametrize(
    ("code", "errors", "reasons", "sentence", "advice"),
    [
        (1, ["Traceback (most recent call last):", "ValueError: oh"], [], "ValueError: oh", "report"),
        (2, ["device: cpu", "Error: spec.json: unknown key 'a'"], [], "spec.json: unknown key 'a'", "Change the setting"),
        (2, ["Error: this model has no intensity settings and requires --wl/--ww: x"], [], "this model", "Set the w"),
        (2, ["Usage: itk_infer", "Error: --device tpu: give auto"], [], "--device tpu", "device"),
        (3, ["2 done, 1 failed"], ["is cut off"], "is cut off", "other cases are done"),
        (4, [], ["a", "b"], "2 cases failed. The first: a", "Every case failed"),
        (4, [], ["not enough memory for this image; see --dry-run"], "not enough memory", "smaller patch"),
        (5, ["Error: m.onnx: onnxruntime cannot load it"], [], "m.onnx: onnxruntime cannot", "another model"),
        (6, ["Error: no image found"], [], "no image found", "Choose a folder"),
        (130, [], [], "stopped", "Press Run"),
        (143, ["Interrupted. What is finished stays"], [], "stopped", "Press Run"),
        (-15, [], [], "stopped", "Press Run"),
        (-9, ["some line"], [], "The system ended", "memory"),
        (137, [], [], "The system ended", "memory"),
        (-11, ["some line"], [], "crashed", "report"),
        (0xC0000005, [], [], "crashed", "report"),
        (127, ["sh: itk_infer: not found"], [], "not found", "another environment"),
        (77, [], [], "exit code 77 and said nothing", "report"),
    ],
)  # fmt: skip
def test_each_end_in_words(code, errors, reasons, sentence, advice):
    found = explain(code, errors, reasons)
    assert sentence in found.sentence
    assert advice in found.advice


def test_of_one_volume_no_table_is_spoken():
    assert "table" not in explain(4, [], ["is cut off"], single_volume=True).advice


def ended(itk_infer, run: Run) -> tuple[int, Task]:
    task = Task("run", "", run.argv(itk_infer), os.environ, lambda _: None, lambda *_: None)
    while task.job.exit_code is None:
        task.poll()
        time.sleep(0.02)
    return task.job.exit_code, task


@pytest.mark.parametrize(
    ("code", "sentence", "advice"),
    [
        (2, "patch size", "Change patch size"),
        (3, "cut|end|truncated|whole", "other cases are done"),
        (4, "cut|end|truncated|whole", "Every case failed"),
        (5, "no such file|cannot load", "another model"),
        (6, "[Nn]o input", "Choose a folder"),
    ],
)
def test_the_real_program_ends_and_its_own_sentence_is_shown(code, sentence, advice, tmp_path, demo, itk_infer):
    images = tmp_path / "in"
    images.mkdir()
    scan = (demo / "mni152_hippocampus_left.nii.gz").read_bytes()
    model, options = Model(onnx=str(demo / "hippocampus_unet.onnx")), Options(device="cpu")
    if code in (3, 4):
        (images / "broken.nii.gz").write_bytes(scan[: len(scan) // 2])
    if code in (2, 3, 5):
        shutil.copy(demo / "mni152_hippocampus_left.nii.gz", images)
    if code == 2:
        options = Options(patch=(30, 30, 30), device="cpu")
    if code == 5:
        (tmp_path / "bad.onnx").write_bytes(b"not a model")
        model = Model(onnx=str(tmp_path / "bad.onnx"))
    found, task = ended(itk_infer, Run(str(images), str(tmp_path / "out"), model, options))
    assert found == code, list(task.errors)
    failure = explain(found, list(task.errors), task.run_state.reasons)
    assert re.search(sentence, failure.sentence), failure
    assert advice in failure.advice
