from __future__ import annotations

import click
import pytest

from itk_infer.cli.outputs import output_options, outputs_asked_for


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ()),
        (["--save-conf"], ("workbook",)),
        (["--save-confidences"], ("workbook",)),
        (["--save-confidences", "--save-logits"], ("logits", "workbook")),
    ],
    ids=" ".join,
)
def test_outputs_are_asked_for_by_their_flags(words, expected):
    @click.command()
    @output_options
    def command(**options):
        return outputs_asked_for(options)

    assert command.main(words, standalone_mode=False) == expected
