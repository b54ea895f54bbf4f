"""How words of the command line become values of options."""

from __future__ import annotations

import click
import pytest

from itk_infer.cli.options import GroupedCommand, decorated, options_under, read_options
from itk_infer.options import declared


@pytest.mark.parametrize(
    ("words", "folds"),
    [
        (["--folds", "0,2"], ("0", "2")),
        (["--folds", "0", "2"], ("0", "2")),
        (["--folds", "0,2", "3", "--no-tta"], ("0", "2", "3")),
        (["--no-tta", "--folds", "4"], ("4",)),
        (["--folds=0,2"], ("0", "2")),
        (["--folds", "all"], ("all",)),
    ],
    ids=["commas", "words", "both", "one", "equals", "all"],
)
def test_items_of_a_list_may_be_words_of_their_own(words, folds):
    found = []
    every = options_under(*{about.heading for about in declared().values()})
    run = decorated(lambda **given: found.append(read_options(given)), every)
    click.command("run", cls=GroupedCommand)(run).main(words, standalone_mode=False)
    assert found[0].folds == folds


def test_other_words_are_no_items():
    command = click.command("run", cls=GroupedCommand)(decorated(lambda **given: None, options_under("Model")))
    with pytest.raises(click.UsageError, match="unexpected extra argument"):
        command.main(["--folds", "0", "scan.nii"], standalone_mode=False)
