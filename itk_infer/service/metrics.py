"""Metrics of a service for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from __future__ import annotations

import re
from collections.abc import Iterator

from itk_infer._version import __version__
from itk_infer.service.counters import BOUNDS_S
from itk_infer.service.service import Service

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_SPECIAL = re.compile(r'[\\"\n]')


def metrics_text(service: Service) -> str:
    """All metrics in the text format of Prometheus."""
    return "".join(f"{line}\n" for line in _lines(service))


def _lines(service: Service) -> Iterator[str]:
    yield from _head("itk_infer_info", "gauge", "Version of the program.")
    yield f'itk_infer_info{{version="{__version__}"}} 1'
    counts = service.queue.counts()
    yield from _head("itk_infer_jobs", "gauge", "Jobs by state; ended ones until they are deleted.")
    for state, count in counts.items():
        yield f'itk_infer_jobs{{state="{state}"}} {count}'
    yield from _head("itk_infer_queue_length", "gauge", "Jobs that wait.")
    yield f"itk_infer_queue_length {counts['waiting']}"
    yield from _head("itk_infer_free_bytes", "gauge", "Bytes that may still be written to the server's folder.")
    yield f"itk_infer_free_bytes {service.free_bytes()}"
    received, stages = service.counters.snapshot()
    yield from _head("itk_infer_received_bytes_total", "counter", "Bytes of uploads since the start.")
    yield f"itk_infer_received_bytes_total {received}"
    yield from _head("itk_infer_model_info", "gauge", "Models and their states.")
    for entry in service.catalogue.all():
        device = entry.info.device if entry.info else ""
        yield (
            f'itk_infer_model_info{{model="{_escaped(entry.name)}",state="{entry.state}",'
            f'device="{_escaped(device)}"}} 1'
        )
    yield from _head("itk_infer_model_loaded", "gauge", "Models that are in memory, by the place where jobs run.")
    for slot, names in service.loaded.items():
        for name in names:
            yield f'itk_infer_model_loaded{{model="{_escaped(name)}",slot="{slot}"}} 1'
    yield from _head("itk_infer_stage_seconds", "histogram", "Seconds of each stage of finished jobs.")
    for stage, histogram in sorted(stages.items()):
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), histogram.counts, strict=True):
            yield f'itk_infer_stage_seconds_bucket{{stage="{_escaped(stage)}",le="{bound}"}} {count}'
        yield f'itk_infer_stage_seconds_sum{{stage="{_escaped(stage)}"}} {histogram.total:.6f}'
        yield f'itk_infer_stage_seconds_count{{stage="{_escaped(stage)}"}} {histogram.counts[-1]}'


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: {"\n": "\\n"}.get(found[0], f"\\{found[0]}"), text)
