"""``itk_infer demo``: the main job on two bundled scans, and a picture of what was found."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import click

from itk_infer.cli.options import PATH, GroupedCommand, option

MODEL = "hippocampus_unet.onnx"
SIDES = {"right": "mni152_hippocampus_right.nii.gz", "left": "mni152_hippocampus_left.nii.gz"}


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@option(
    "-o",
    "--output",
    heading="Output",
    type=PATH,
    default=Path("demo_output"),
    show_default=True,
    help="Output folder; created.",
)
def demo_command(output: Path) -> int:
    """Segment both hippocampi of a bundled brain template on the CPU, and draw what was found.

    Two crops of the ICBM152 T1 template and a small 3D U-Net come with the package. Label maps, a picture of each,
    confidences.xlsx and demo.png with both pictures are written to the output folder.
    """
    from itk_infer.cli.progress import Lines
    from itk_infer.cli.summary import print_summary
    from itk_infer.events import Events
    from itk_infer.predictor import Predictor
    from itk_infer.run.destination import with_destination
    from itk_infer.run.folder import run_folder
    from itk_infer.run.ledger import Ledger
    from itk_infer.run.settings import RunSettings
    from itk_infer.volume.names import split_suffix

    with resources.as_file(resources.files("itk_infer") / "demo") as bundled:
        predictor = Predictor.from_onnx(bundled / MODEL, device="cpu", picture_style="overlay")
        settings = with_destination(RunSettings(bundled, output, save=("pictures", "workbook")))
        summary = run_folder(predictor, settings, Events([Lines(quiet=False, verbose=False)]), sys.argv)
        print_summary(summary, settings, verbose=False)
        if summary.failed or summary.exit_code:
            return summary.exit_code
        ledger = Ledger(output, read_only=True)
        records = ledger.cases()
        ledger.close()
        table = predictor.spec.output.label_table(predictor.backend.shape.channels_out or 0)
        for side, name in SIDES.items():
            results = records[name].results or {}
            findings = {finding["value"]: finding for finding in results["findings"]}
            click.echo(f"{side} hippocampus, confidence {results['confidence_foreground']:.3f}")
            for label in table:
                found = findings[label.value]
                click.echo(f"  {label.name:<24}{found['voxels']:>6} voxels{found['volume_ml']:>8.2f} ml")
    picture = output / "demo.png"
    _draw(picture, [output / f"{split_suffix(name)[0]}.png" for name in SIDES.values()])
    click.echo(f"picture: {picture}")
    return 0


def _draw(path: Path, pictures: list[Path]) -> None:
    """Draw pictures below each other."""
    from PIL import Image

    from itk_infer.outputs.drawing.file import write_png

    opened = [Image.open(each) for each in pictures]
    canvas = Image.new("RGB", (max(each.width for each in opened), sum(each.height for each in opened)))
    top = 0
    for each in opened:
        canvas.paste(each, (0, top))
        top += each.height
        each.close()
    write_png(canvas, path, track=False)
