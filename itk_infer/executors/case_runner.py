"""The runner of cases: a loaded model that segments images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from itk_infer.executors.case_files import OnEvent, run_case
from itk_infer.executors.loader import ModelInfo, model_info
from itk_infer.executors.messages import Outcome
from itk_infer.predictor import Predictor

if TYPE_CHECKING:
    from itk_infer.executors.overlap import Overlap


class CaseRunner:
    """Segments cases with one loaded model, see `Runner`.

    Args:
        predictor: The loaded model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    @property
    def facts(self) -> ModelInfo:
        """See `Runner`."""
        return model_info(self._predictor)

    def run(self, task: Any, worker: int, show: OnEvent, check: Callable[[], None]) -> Outcome:
        """See `run_case`."""
        return run_case(self._predictor, task, worker, show, check)

    def overlapping(
        self, worker: int, send: Callable[[Any], None], show: OnEvent, check: Callable[[], None]
    ) -> Overlap | None:
        """See `Runner`. None on a CPU, whose cores the network needs."""
        if self._predictor.backend.device == "cpu":
            return None
        from itk_infer.executors.overlap import Overlap

        return Overlap(self._predictor, worker, send, show, check)
