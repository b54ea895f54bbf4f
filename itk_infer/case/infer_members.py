"""Run the members of one model on one case in step, each in a ring of its own, and average their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from itk_infer.case.network_run import NetworkRun
from itk_infer.engine.agreement import Agreement
from itk_infer.engine.ensemble import mean_of, probabilities, reordered
from itk_infer.engine.slabs import finished_slabs
from itk_infer.engine.workspace import Slab, Workspace


def mean_slabs(
    run: NetworkRun, workspace: Workspace, agreement: Agreement, on_windows: Callable[[int], None]
) -> Iterator[Slab]:
    """Yield slabs of the mean probabilities on the model's grid; members are at most one slab apart.

    Args:
        run: The members' networks and the prepared case.
        workspace: Where the case is computed.
        agreement: Compares the members.
        on_windows: Called with the windows done so far, summed over the members.
    """
    done = [0] * len(run.networks)

    def counter(number: int) -> Callable[[int], None]:
        def count(windows: int) -> None:
            done[number] = windows
            on_windows(sum(done))

        return count

    streams = []
    for number, network in enumerate(run.networks):
        slabs = finished_slabs(
            run.prepared.volume,
            run.plan.windows,
            network.forward,
            workspace,
            repair=network.repair,
            batch=run.model.batch,
            on_windows=counter(number),
        )
        streams.append(probabilities(reordered(slabs, network.member.order), run.model.spec.output))
    return mean_of(streams, [network.member.weight for network in run.networks], agreement.add)
