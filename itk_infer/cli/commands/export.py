"""``itk_infer export``: a model as one ONNX file, with its spec in the metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.model_files import file_options, named_model
from itk_infer.cli.options import PATH, GroupedCommand, decorated, flags_of, option, read_options, with_flags
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.model.export.exporter import Exported

OPTIONS = (
    *("spec", "folds", "checkpoint", "precision", "blend", "step_size"),
    *("window_level", "window_width", "patch_size", "patch_stride"),
)
FILES = "Export"


def _model(command: Callable[..., Any]) -> Callable[..., Any]:
    return decorated(command, [*file_options(), *(flag for name in OPTIONS for flag in flags_of(name))])


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@option("-o", "--output", heading=FILES, type=PATH, required=True, help="The .onnx file to write.")
@option("--free-size", heading=FILES, is_flag=True, help="Leave the window size free; default fixed, and faster.")
@option("--merge-folds", heading=FILES, is_flag=True, help="nnU-Net: one network that averages all folds.")
@option(
    "--verify",
    heading=FILES,
    type=PATH,
    multiple=True,
    metavar="IMAGE",
    help="Also compare the masks of this image; repeatable.",
)
@option("--overwrite", heading=FILES, is_flag=True, help="Replace files that are there.")
@_model
def export_command(
    output: Path, free_size: bool, merge_folds: bool, verify: tuple[Path, ...], overwrite: bool, **model: Any
) -> int:
    """Write a model of any kind to one ONNX file that needs neither torch nor other files.

    The file holds the network and the whole model spec. It gets its name only after its output equals that
    of the model, with ONNX Runtime and OpenVINO. --fp16 stores the weights in half precision. Several folds of an
    nnU-Net model become one file each, and an ensemble file (.json) that names them.
    """
    from itk_infer.executors.loader import ModelRequest
    from itk_infer.export import export_model

    paths, kind = named_model(model)
    request = ModelRequest(paths, kind, read_options(model))
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        from itk_infer.errors import ModelError

        raise ModelError(
            f"export needs a package that is missing ({error}): pip install 'itk_infer[export]'"
        ) from None
    results = export_model(
        request.paths,
        request.kind,
        request.options,
        output,
        free_size=free_size,
        merge_folds=merge_folds,
        images=verify,
        overwrite=overwrite,
    )
    for result in results:
        _print(result)
    return 0


def _print(result: Exported) -> None:
    size = sum(file.stat().st_size for file in result.files)
    click.echo(f"{' and '.join(map(str, result.files))}: {size / 1e6:,.1f} MB")
    for line in (*result.comparisons, *result.verified):
        click.echo(f"  {printable(str(line))}")
    for note in result.notes:
        click.echo(f"  {with_flags(note)}", err=True)
