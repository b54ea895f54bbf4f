"""Tasks carry all that an executor must know of a folder."""

from __future__ import annotations

from dataclasses import replace

from itk_infer.executors.in_process import InProcess
from itk_infer.executors.messages import Finished, Task
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.cases import find_cases
from itk_infer.spec import InputSpec


def test_one_executor_serves_several_output_folders(folder, tmp_path):
    folder.scan("a.mha")
    (case,) = find_cases(folder.source, None, recursive=False, wanted=InputSpec()).cases
    told = []
    with InProcess(Predictor(FakeBackend())) as executor:
        executor.open(lambda: None)
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            executor.submit(Task(case, tmp_path / name, (("labels", tmp_path / name / "sub" / "a.mha"),)))
            executor.step(told.append)
    finished = [message for message in told if isinstance(message, Finished)]
    assert [message.outputs[0].path for message in finished] == ["sub/a.mha"] * 2
    assert all((tmp_path / name / "sub" / "a.mha").exists() for name in ("one", "two"))


def test_a_task_for_another_current_folder_has_absolute_paths(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.scan("a.mha")
    source, output = (path.relative_to(tmp_path) for path in (folder.source, folder.output))
    (case,) = find_cases(source, None, recursive=False, wanted=InputSpec()).cases
    task = Task(case, output, (("labels", output / "a.mha"),)).absolute()
    assert task.case == replace(case, paths=(folder.source / "a.mha",))
    assert (task.folder, task.wanted) == (folder.output, (("labels", folder.output / "a.mha"),))
