"""Folds of a model as members, with their own networks."""

from __future__ import annotations

import numpy as np
import pytest
from support.nnunet_folder import write_model

from itk_infer.errors import ConfigError
from itk_infer.model.members import members_of
from itk_infer.model.registry import load_backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options

pytest.importorskip("torch", reason="needs the nnunet extra")

WINDOWS = np.random.default_rng(1).standard_normal((1, 1, 8, 16, 12), np.float32)


def load(path, **options):
    return load_backend("nnunet", (path,), SpecSources(), Options(device="cpu", **options))


@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_folds_are_members_whose_logits_the_model_averages(tmp_path, provider):
    root = write_model(tmp_path / "m", ("0", "1", "2"))
    backend = load(root, provider=provider)
    members = members_of(backend, Options(agreement=True), (0,))
    assert [member.weight for member in members] == [1 / 3] * 3
    assert all(tuple(member.mirror_axes) == (0,) for member in members)
    answers = [member.backend.forward(WINDOWS) for member in members]
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    np.testing.assert_allclose(np.mean(answers, axis=0), backend.forward(WINDOWS), atol=1e-4)
    alone = load(root, provider="cpu", folds=("1",))
    np.testing.assert_allclose(answers[1], alone.forward(WINDOWS), atol=1e-4)
    assert members_of(backend, Options(agreement=True), None)[0].backend is members[0].backend  # compiled once
    full = members_of(backend.in_full_precision(), Options(agreement=True), None)
    np.testing.assert_allclose(full[2].backend.forward(WINDOWS), answers[2], atol=1e-4)


def test_a_single_fold_has_its_mirrorings(tmp_path):
    backend = load(write_model(tmp_path / "m", ("0",)), provider="cpu")
    assert backend.folds == ()
    assert len(members_of(backend, Options(agreement=True), (0, 1))) == 4
    with pytest.raises(ConfigError, match="no folds"):
        members_of(backend, Options(agreement=True), None)


def test_dropout_of_a_network_without(tmp_path):
    backend = load(write_model(tmp_path / "m", ("0",)), provider="cpu")
    with pytest.raises(ConfigError, match="no dropout layers"):
        members_of(backend, Options(mc_dropout=3), None)
