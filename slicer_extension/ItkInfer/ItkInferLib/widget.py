"""The panel: presses become programs at work, and what they say becomes what is seen. Given Qt by Slicer."""

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
from .command import Run, Unfit, inspect_argv
from .display import Display
from .environment import MAPS, check_new, find_python, making_steps, verdict
from .errand import Errand
from .failure import Failure, explain
from .job import Job, StartError
from .leftovers import result_path, sweep
from .results import show_results
from .story import Case
from .table import CasesTable

POLL_MS = 100
OTHER_PYTHON = "Is there a network? Else name another Python under Environment. The log below says more."
AGAIN = "Run again; if it happens again, report it with the log below."


class Panel:
    """Drives the controls of ``ItkInfer.ui``.

    Args:
        ui: Its controls, as attributes.
        scene: A `scene.Scene`.

    Attributes:
        errand: What is at work; one at a time.
        about: The model, where it is known.
        outcome: How the last errand ended, until a choice changes.
    """

    def __init__(self, ui: Any, scene: Any) -> None:
        self.ui = ui
        self.scene = scene
        self.choices = Choices(ui)
        self._display = Display(ui)
        self.errand: Optional[Errand] = None
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
        except Unfit:
            ui.environmentSection.setProperty("collapsed", False)
        self.ask_model()
        self.refresh()

    # What the user does --------------------------------------------------------------------------------

    def run(self, *_: Any) -> None:
        """Start what the front tab says."""
        if self.choices.lacking(self.about) is not None or (self.errand and self.errand.kind != "inspect"):
            return
        self.outcome = None
        try:
            if self.choices.batch:
                self._run = self.choices.folder_run()
                self._table.clear()
                words = self._run.argv(self.choices.program().command)
                self._start("folder", "Segmenting a folder\u2026", words, self._folder_done)
            else:
                self._run_volume()
        except (Unfit, OSError) as error:
            self._give_up(Failure(str(error), "Choose another volume, or change it as the message says."))

    def cancel(self, *_: Any) -> None:
        """Stop whatever is at work."""
        if self.errand is not None:
            self.errand.job.cancel()
            self.refresh()

    def close(self) -> None:
        """Slicer or the scene closes: end everything now."""
        self._timer.stop()
        if self.errand is not None:
            self.errand.job.kill()
            self.errand = None
        self._clean()

    def scene_closes(self) -> None:
        """The volume at work will be gone; a folder has nothing to do with the scene."""
        if self.errand is not None and self.errand.kind in ("run", "maps"):
            self.cancel()

    def changed(self, *_: Any) -> None:
        """A choice changed: what was said of the last run no longer counts."""
        if self.errand is None:
            self.outcome = None
        wiring.remember(self.ui)
        self.refresh()

    def volume_changed(self, *_: Any) -> None:
        """Another volume: its display is the guess for a window the model does not know."""
        if not self.ui.windowCheck.property("checked") and (self.about is None or self.about.level is None):
            self.window_from_display()
        self.changed()

    def model_changed(self, *_: Any) -> None:
        """Another model, or other options for it: ask it again."""
        self._display.kind()
        self.changed()
        self.ask_model()

    def window_from_display(self, *_: Any) -> None:
        """Take level and width from how the volume is shown."""
        found = self.scene.display_window(self.choices.volume)
        if found is not None:
            self.ui.levelSpin.setProperty("value", found[0])
            self.ui.widthSpin.setProperty("value", found[1])
            self.ask_model()

    def ask_model(self) -> None:
        """Let the program say what it knows of the model, if that was not asked before."""
        try:
            model, options, program = self.choices.model(), self.choices.options(), self.choices.program()
            model.check()
        except Unfit:
            self._asked = ()
            self._know(None)
            return
        question = (program, model, options)
        if question == self._asked or (self.errand is not None and self.errand.kind != "inspect"):
            return
        self._asked = question
        self._know(None)
        words = inspect_argv(program.command, model, options)
        self._start("inspect", "Reading the model\u2026", words, self._inspected)

    def test(self, *_: Any) -> None:
        """Ask the environment what it can do."""
        self._asked = ()
        self._display.verdict(None, "")
        try:
            words = self.choices.program().test_argv()
        except Unfit as error:
            self._display.verdict(False, str(error))
            return
        self._start("test", "Testing the environment\u2026", words, self._tested)

    def make(self, *_: Any) -> None:
        """Make an environment, step by step."""
        own = find_python(sys.executable or "", sys.version_info[:2])
        python = self.ui.pythonPath.property("currentPath") or own
        folder = self.ui.placePath.property("currentPath")
        try:
            check_new(python, folder, self.scene.home())
        except Unfit as error:
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
        except Unfit as error:
            self._log(str(error))
            self.outcome = view.failed(Failure(str(error), "Is it still there?"), can_run=True)
        self.refresh()

    def copy_log(self, *_: Any) -> None:
        """Put the log on the clipboard."""
        qt.QApplication.clipboard().setText(self.ui.logText.property("plainText"))

    # What programs do ----------------------------------------------------------------------------------

    def tick(self, *_: Any) -> None:
        """Hear what the program says, and see whether it ended."""
        self._dropped = [job for job in self._dropped if job.poll() or job.exit_code is None]
        errand = self.errand
        if errand is None:
            if not self._dropped:
                self._timer.stop()
            return
        errand.hear()
        if errand.kind == "folder":
            self._table.show(errand.story)
        code = errand.job.exit_code
        if code is not None:
            self.errand = None
            try:
                if errand.job.cancelled:
                    self._cancelled(errand)
                else:
                    errand.then(errand, code)
            except Exception as error:  # a fault of ours, or of Slicer's plugins, must not leave it hanging
                self._log(traceback.format_exc())
                self._give_up(Failure("Unexpected %s: %s" % (type(error).__name__, error), AGAIN))
            if self.errand is None:
                self.ask_model()
        self.refresh()

    def _start(self, kind: str, title: str, words: List[str], then: Callable[[Errand, int], None]) -> None:
        if self.errand is not None:  # reading a model, whose answer nobody waits for any more
            self.errand.job.kill()
            self._dropped.append(self.errand.job)
            self.errand = None
            if kind != "inspect":
                self._asked = ()
        try:
            self.errand = Errand(kind, title, words, self.scene.environment(), self._log, then)
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

        def then(errand: Errand, code: int) -> None:
            case = next(iter(errand.story.cases.values()), None)
            if code or case is None or case.state != "done":
                self._failed(errand, code)
            elif maps:
                decision = self.about.decision if self.about else "argmax"
                logits = next((path for path in case.outputs if path.endswith(".zarr")), "")
                words = [program.python, MAPS, logits, self._folder, decision, maps]
                self._start("maps", "Making maps\u2026", words, lambda made, end: finish(made, end, case))
            else:
                finish(errand, 0, case)

        def finish(errand: Errand, code: int, case: Case) -> None:
            if code:
                self._failed(errand, code)
                return
            try:
                self._finish(*show_results(self.scene, case, exported, self._folder))
            except Unfit as error:
                self._give_up(Failure(str(error), AGAIN))

        self._name = volume.GetName()
        self._start("run", "Segmenting %s\u2026" % self._name, self._run.argv(program.command), then)

    def _folder_done(self, errand: Errand, code: int) -> None:
        if code:
            self._failed(errand, code)
            return
        counts = [(errand.story.count(state), state) for state in ("done", "skipped")]
        said = ", ".join("%d %s" % pair for pair in counts if pair[0])
        self._finish("Done: %s." % (said or "nothing to do"), "Double-click a case to see it.")

    def _inspected(self, errand: Errand, code: int) -> None:
        about = read_about(errand.said) if code == 0 else None
        self._know(about)
        if about is None:
            self._unusable = explain(code or 1, list(errand.errors))

    def _tested(self, errand: Errand, code: int) -> None:
        self._display.verdict(*verdict(code, list(errand.said)))

    def _next_step(self, steps: List[Tuple[str, List[str]]]) -> None:
        if not steps:
            self.ui.environmentPath.setProperty("currentPath", self._making)
            self._making = ""
            self.test()
            return

        def then(errand: Errand, code: int) -> None:
            if code:
                self._failed(errand, code)
            else:
                self._next_step(steps[1:])

        self._start("make", steps[0][0] + "\u2026", steps[0][1], then)

    def _cancelled(self, errand: Errand) -> None:
        if errand.kind == "inspect":
            return
        if errand.job.killed and errand.story.total and self._run is not None:
            sweep(self._run.output, self._run.recursive)
        errand.story.stop()
        self._table.show(errand.story)
        self._clean()
        self.outcome = view.cancelled(errand.kind == "folder")

    def _failed(self, errand: Errand, code: int) -> None:
        failure = explain(code, list(errand.errors), errand.story.reasons, one=errand.kind == "run")
        if errand.kind == "make":
            failure = Failure(failure.sentence, OTHER_PYTHON)
        if errand.kind == "run" and self._run is not None:
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
        """Remove the files of a run of one volume, and an environment that was not finished."""
        for folder in filter(None, (self._folder, self._making)):
            shutil.rmtree(folder, ignore_errors=True)
        self._folder = self._making = ""

    # What the user sees --------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the state."""
        kind = self.errand.kind if self.errand is not None else ""
        # Reading a model is short, and typing must go on meanwhile.
        free = kind in ("", "inspect")
        self._display.state(*self._view(), free=free, batch=self.choices.batch, busy_folder=kind == "folder")

    def _view(self) -> Tuple[view.View, bool]:
        """The state, and whether all that a run needs is there."""
        errand, lacking = self.errand, self.choices.lacking(self.about)
        if errand is None:
            unusable = view.failed(self._unusable, can_run=False) if self._unusable else None
            what = "the folder" if self.choices.batch else "the volume"
            return self.outcome or lacking or unusable or view.ready(what), not (lacking or unusable)
        if errand.job.cancelled:
            return view.cancelling(), False
        if errand.kind in ("run", "folder"):
            return view.running(errand.title, errand.story), False
        return view.working(errand.title, can_run=errand.kind == "inspect"), not lacking

    def _know(self, about: Optional[About]) -> None:
        self.about, self._unusable = about, None
        self._display.about(about)

    def _log(self, line: str) -> None:
        self.ui.logText.appendPlainText(line)
