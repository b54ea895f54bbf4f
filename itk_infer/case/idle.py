"""Options that were given and do nothing with this model on this device."""

from __future__ import annotations

from itk_infer.model.backend import Backend
from itk_infer.model.window import ModelWindow
from itk_infer.options import Options


def idle_options(options: Options, backend: Backend, window: ModelWindow) -> tuple[str, ...]:
    """A sentence for each option that has no effect; options are written in backquotes, as Python arguments.

    Args:
        options: What was given.
        backend: The loaded model.
        window: What spec, network and options agreed on.
    """
    notes: list[str] = []
    if options.batch_cache is not True and options.batch != "auto":
        given = f"`batch_cache={options.batch_cache}`"
        notes.append(f"{given} does nothing without `batch=auto`, which finds what is kept there")
    if options.max_vram is not None and backend.device == "cpu":
        notes.append("`max_vram` does nothing on the CPU; `max_ram` bounds host memory")
    whole, fixed = not any(window.patch), backend.shape.batch
    if whole and options.batch not in (None, 1):
        notes.append(f"`batch={options.batch}` does nothing: this model takes the whole volume as one window")
    elif fixed is not None and options.batch is not None and (options.batch == "auto" or options.batch > fixed):
        notes.append(f"`batch={options.batch}` does nothing: the network takes exactly {fixed} window(s) per call")
    if options.blend is not None and (whole or window.stride == window.patch):
        reason = "this model takes the whole volume as one window" if whole else "the windows do not overlap"
        notes.append(f"`blend={options.blend}` does nothing: {reason}")
    return tuple(notes)
