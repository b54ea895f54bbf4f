"""The panel: starts programs when buttons are pressed, and shows their state. Slicer provides Qt."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import traceback
from typing import Any, Callable, List, Optional, Tuple

import qt

from . import view, wiring
from .about import About, read_about
from .choices import Choices
from .cleanup import result_path, sweep
from .command import InvalidChoice, Run, inspect_argv
from .display import Display
from .environment import MAPS, check_new, find_python, making_steps, verdict
from .failure import Failure, explain
from .job import Job, StartError
from .results import show_results
from .run_state import Case
from .table import CasesTable
from .task import Task

POLL_MS = 100
OTHER_PYTHON = "Is there a network? Else name another Python under Environment. The log below says more."
AGAIN = "Run again; if it happens again, report it with the log below."


class Panel:
    """Controls the widgets of ``ItkInfer.ui``.

    Args:
        ui: Its controls, as attributes.
        scene: A `scene.Scene`.

    Attributes:
        task: The running program; one at a time.
        about: The description of the model, if it is known.
        outcome: The view after the last task, until a choice changes.
    """

    def __init__(self, ui: Any, scene: Any) -> None:
        self.ui = ui
        self.scene = scene
        self.choices = Choices(ui)
        self._display = Display(ui)
        self.task: Optional[Task] = None
        self.about: Optional[About] = None
        self.outcome: Optional[view.View] = None
        self._unusable: Optional[Failure] = None  # why the model cannot be used
        self._asked: Tuple[Any, ...] = ()
        self._dropped: List[Job] = []
        self._folder = ""  # of the run of one volume; removed after it
        self._making = ""  # of an environment that is not finished
        self._run: Optional[Run] = None
        self._name = ""  # of the volume at work
        self._table = CasesTable(ui.casesTable)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        wiring.connect(self._timer, "timeout()", self.tick)
        wiring.restore(ui)
        wiring.wire(ui, self)
        self._display.verdict(None, "")
        self._display.kind()
        try:
            self.choices.program()
        except InvalidChoice:
            ui.environmentSection.setProperty("collapsed", False)
        self.ask_model()
        self.refresh()

    # What the user does --------------------------------------------------------------------------------

    def run(self, *_: Any) -> None:
        """Start the run of the selected tab."""
        if self.choices.lacking(self.about) is not None or (self.task and self.task.kind != "inspect"):
            return
        self.outcome = None
        try:
            if self.choices.batch:
                self._run = self.choices.folder_run()
                self._table.clear()
                argv = self._run.argv(self.choices.program().command)
                self._start("folder", "Segmenting a folder\u2026", argv, self._folder_done)
            else:
                self._run_volume()
        except (InvalidChoice, OSError) as error:
            self._give_up(Failure(str(error), "Choose another volume, or change it as the message says."))

    def cancel(self, *_: Any) -> None:
        """Stop the running program."""
        if self.task is not None:
            self.task.job.cancel()
            self.refresh()

    def close(self) -> None:
        """Kill the running program, because Slicer or the module closes."""
        self._timer.stop()
        if self.task is not None:
            self.task.job.kill()
            self.task = None
        self._clean()

    def scene_closes(self) -> None:
        """Cancel the run of a volume, which is removed with the scene; a folder's run goes on."""
        if self.task is not None and self.task.kind in ("run", "maps"):
            self.cancel()

    def changed(self, *_: Any) -> None:
        """A choice changed: the outcome of the last run is not shown any more."""
        if self.task is None:
            self.outcome = None
        wiring.remember(self.ui)
        self.refresh()

    def volume_changed(self, *_: Any) -> None:
        """The volume changed: take the window from its display if the model does not define one."""
        if not self.ui.windowCheck.property("checked") and (self.about is None or self.about.level is None):
            self.window_from_display()
        self.changed()

    def model_changed(self, *_: Any) -> None:
        """The model or its options changed: read its description again."""
        self._display.kind()
        self.changed()
        self.ask_model()

    def window_from_display(self, *_: Any) -> None:
        """Take window level and width from the volume's display."""
        window = self.scene.display_window(self.choices.volume)
        if window is not None:
            self.ui.levelSpin.setProperty("value", window[0])
            self.ui.widthSpin.setProperty("value", window[1])
            self.ask_model()

    def ask_model(self) -> None:
        """Read the description of the model with itk_infer, unless it was read before."""
        try:
            model, options, program = self.choices.model(), self.choices.options(), self.choices.program()
            model.check()
        except InvalidChoice:
            self._asked = ()
            self._know(None)
            return
        if model.kind == "server":  # it describes its models itself
            self._asked = ()
            self._know(None)
            return
        question = (program, model, options)
        if question == self._asked or (self.task is not None and self.task.kind != "inspect"):
            return
        self._asked = question
        self._know(None)
        argv = inspect_argv(program.command, model, options)
        self._start("inspect", "Reading the model\u2026", argv, self._inspected)

    def test(self, *_: Any) -> None:
        """Test the environment."""
        self._asked = ()
        self._display.verdict(None, "")
        try:
            argv = self.choices.program().test_argv()
        except InvalidChoice as error:
            self._display.verdict(False, str(error))
            return
        self._start("test", "Testing the environment\u2026", argv, self._tested)

    def make(self, *_: Any) -> None:
        """Create an environment, step by step."""
        own = find_python(sys.executable or "", sys.version_info[:2])
        python = self.ui.pythonPath.property("currentPath") or own
        folder = self.ui.placePath.property("currentPath")
        try:
            check_new(python, folder, self.scene.home())
        except InvalidChoice as error:
            self._display.verdict(False, str(error))
            return
        self._making = folder
        self.ui.logSection.setProperty("collapsed", False)
        self._next_step(making_steps(python, folder, self.ui.packageBox.property("currentText").strip()))

    def open_row(self, row: int, _column: int = 0) -> None:
        """Load the image and the result of a row."""
        if self._run is None or not 0 <= row < len(self._table.cases):
            return
        case = self._table.cases[row]
        try:
            self.scene.open_case(os.path.join(self._run.source, case), result_path(self._run.output, case))
        except InvalidChoice as error:
            self._log(str(error))
            self.outcome = view.failed(Failure(str(error), "Is it still there?"), can_run=True)
        self.refresh()

    def copy_log(self, *_: Any) -> None:
        """Put the log on the clipboard."""
        qt.QApplication.clipboard().setText(self.ui.logText.property("plainText"))

    # What programs do ----------------------------------------------------------------------------------

    def tick(self, *_: Any) -> None:
        """Collect the program's output, and check whether it has ended."""
        self._dropped = [job for job in self._dropped if job.poll() or job.exit_code is None]
        task = self.task
        if task is None:
            if not self._dropped:
                self._timer.stop()
            return
        task.poll()
        if task.kind == "folder":
            self._table.show(task.run_state)
        code = task.job.exit_code
        if code is not None:
            self.task = None
            try:
                if task.job.cancelled:
                    self._cancelled(task)
                else:
                    task.then(task, code)
            except Exception as error:  # an error here or in Slicer's plugins must not block the panel
                self._log(traceback.format_exc())
                self._give_up(Failure("Unexpected %s: %s" % (type(error).__name__, error), AGAIN))
            if self.task is None:
                self.ask_model()
        self.refresh()

    def _start(self, kind: str, title: str, argv: List[str], then: Callable[[Task, int], None]) -> None:
        if self.task is not None:  # it reads a model's description, which is not needed any more
            self.task.job.kill()
            self._dropped.append(self.task.job)
            self.task = None
            if kind != "inspect":
                self._asked = ()
        try:
            self.task = Task(kind, title, argv, self.scene.environment(), self._log, then)
        except StartError as error:
            self._give_up(Failure(str(error), "Press Test under Environment."))
            return
        self._timer.start()
        self.refresh()

    def _run_volume(self) -> None:
        choices, volume = self.choices, self.choices.volume
        program, maps = choices.program(), choices.maps
        self._folder = tempfile.mkdtemp(prefix="itk_infer-")
        exported = self.scene.export(volume, self._folder)
        output = os.path.join(self._folder, "results")
        self._run = Run(exported.path, output, choices.model(), choices.options(), logits=bool(maps))

        def then(task: Task, code: int) -> None:
            case = next(iter(task.run_state.cases.values()), None)
            if code or case is None or case.state != "done":
                self._failed(task, code)
            elif maps:
                decision = self.about.decision if self.about else "argmax"
                logits = next((path for path in case.outputs if path.endswith(".zarr")), "")
                argv = [program.python, MAPS, logits, self._folder, decision, maps]
                self._start("maps", "Making maps\u2026", argv, lambda made, end: finish(made, end, case))
            else:
                finish(task, 0, case)

        def finish(task: Task, code: int, case: Case) -> None:
            if code:
                self._failed(task, code)
                return
            try:
                self._finish(*show_results(self.scene, case, exported, self._folder))
            except InvalidChoice as error:
                self._give_up(Failure(str(error), AGAIN))

        self._name = volume.GetName()
        self._start("run", "Segmenting %s\u2026" % self._name, self._run.argv(program.command), then)

    def _folder_done(self, task: Task, code: int) -> None:
        if code:
            self._failed(task, code)
            return
        counts = [(task.run_state.count(state), state) for state in ("done", "skipped")]
        text = ", ".join("%d %s" % pair for pair in counts if pair[0])
        self._finish("Done: %s." % (text or "nothing to do"), "Double-click a case to see it.")

    def _inspected(self, task: Task, code: int) -> None:
        about = read_about(task.lines) if code == 0 else None
        self._know(about)
        if about is None:
            self._unusable = explain(code or 1, list(task.errors))

    def _tested(self, task: Task, code: int) -> None:
        self._display.verdict(*verdict(code, list(task.lines)))

    def _next_step(self, steps: List[Tuple[str, List[str]]]) -> None:
        if not steps:
            self.ui.environmentPath.setProperty("currentPath", self._making)
            self._making = ""
            self.test()
            return

        def then(task: Task, code: int) -> None:
            if code:
                self._failed(task, code)
            else:
                self._next_step(steps[1:])

        self._start("make", steps[0][0] + "\u2026", steps[0][1], then)

    def _cancelled(self, task: Task) -> None:
        if task.kind == "inspect":
            return
        if task.job.killed and task.run_state.total and self._run is not None:
            sweep(self._run.output, self._run.recursive)
        task.run_state.stop()
        self._table.show(task.run_state)
        self._clean()
        self.outcome = view.cancelled(task.kind == "folder")

    def _failed(self, task: Task, code: int) -> None:
        failure = explain(code, list(task.errors), task.run_state.reasons, single_volume=task.kind == "run")
        if task.kind == "make":
            failure = Failure(failure.sentence, OTHER_PYTHON)
        if task.kind == "run" and self._run is not None:
            # The user knows the volume, not the file it was written to.
            for path in (self._run.source, os.path.basename(self._run.source)):
                failure = Failure(failure.sentence.replace(path, self._name), failure.advice)
        self._give_up(failure)

    def _give_up(self, failure: Failure) -> None:
        self._log(failure.sentence)
        self._clean()
        self.outcome = view.failed(failure, can_run=True)
        self.refresh()

    def _finish(self, headline: str, advice: str) -> None:
        self._clean()
        self.outcome = view.done(headline, advice)

    def _clean(self) -> None:
        """Remove the files of a volume's run, and an environment that was not completed."""
        for folder in filter(None, (self._folder, self._making)):
            shutil.rmtree(folder, ignore_errors=True)
        self._folder = self._making = ""

    # What the user sees --------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the state."""
        kind = self.task.kind if self.task is not None else ""
        # Reading a model is short, and must not interrupt typing.
        free = kind in ("", "inspect")
        self._display.state(*self._view(), free=free, batch=self.choices.batch, busy_folder=kind == "folder")

    def _view(self) -> Tuple[view.View, bool]:
        """The view, and whether all choices that a run needs are made."""
        task, lacking = self.task, self.choices.lacking(self.about)
        if task is None:
            unusable = view.failed(self._unusable, can_run=False) if self._unusable else None
            what = "the folder" if self.choices.batch else "the volume"
            return self.outcome or lacking or unusable or view.ready(what), not (lacking or unusable)
        if task.job.cancelled:
            return view.cancelling(), False
        if task.kind in ("run", "folder"):
            return view.running(task.title, task.run_state), False
        return view.working(task.title, can_run=task.kind == "inspect"), not lacking

    def _know(self, about: Optional[About]) -> None:
        self.about, self._unusable = about, None
        self._display.about(about)

    def _log(self, line: str) -> None:
        self.ui.logText.appendPlainText(line)
