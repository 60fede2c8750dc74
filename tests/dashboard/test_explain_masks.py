"""What masks keep and leave out, on the Explain tab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.attribution import Attribution
from core.choice import Choice
from dashboard.explain.masks import Masks
from dashboard.page import Page
from dashboard.pictures import View
from dashboard.runs import ResultKey
from dashboard.sessions import Session
from tests.dashboard.conftest import tiny_classifier
from tests.trained import write_masker


@pytest.fixture
def masks(small_page: Page) -> Masks:
    return Masks(small_page, SimpleNamespace(masks_area="area", masks="masks"))


def made(view: View, explainer: str, **options: object) -> tuple[ResultKey, Attribution]:
    """A map of the picture in view, and its key."""
    classifier = tiny_classifier()
    name, _, _ = explainer.partition("@")
    choice = Choice.parse(explainer)
    parameters = choice.method.parameters.parse(options)
    choice = replace(choice, parameters=parameters).found(classifier)
    (found,) = choice.bind(classifier).explain(view.image[None], [1])
    assert found.method == name
    return ResultKey(view.source.id, view.fingerprint, choice, 1, None, 0), found


def drawn(masks: Masks, session: Session, view: View, *results: tuple[ResultKey, Attribution]) -> Any:
    keys = {one.method: key for key, one in results}
    return masks.shown(session, view, keys, {one.method: one for _, one in results})


def test_it_is_hidden_where_no_finished_map_is_a_mask(masks: Masks, session: Session, view: View) -> None:
    key, mask = made(view, "mask-optimisation", steps=5)
    for results in ((), (made(view, "gradient"),), ((key, replace(mask, partial=True)),)):
        assert drawn(masks, session, view, *results) == {"area": {"visible": False, "__type__": "update"}}


def test_a_mask_is_shown_with_what_the_model_says_of_both_halves(masks: Masks, session: Session, view: View) -> None:
    key, mask = made(view, "mask-optimisation", steps=5)
    shown = drawn(masks, session, view, (key, mask))["masks"]
    for said in ("Mask optimisation", "What it keeps", "What it leaves out", "The box around it",
                 f"{float(mask.values.mean()):.0%}"):  # fmt: skip
        assert said in shown, said
    assert shown.count("the model says") == 2
    everything = replace(mask, values=torch.ones_like(mask.values))
    other = ResultKey(key.picture, key.fingerprint, key.choice, 1, None, 7)
    whole = masks.page.view(session)
    kept = drawn(masks, session, whole, (other, everything))["masks"]
    chance = float(tiny_classifier().logits(view.image[None]).softmax(1)[0, 1])
    assert f"{chance:.2f}" in kept or chance < 0.01 or chance > 0.99


def test_a_mask_of_a_copy_says_so(masks: Masks, session: Session, view: View, tmp_path: Path) -> None:
    for regime, said in (("fixed", False), ("joint", True)):
        file = write_masker(tiny_classifier(), tmp_path / f"{regime}.safetensors", regime=regime)
        shown = drawn(masks, session, view, made(view, f"masking@{file}"))["masks"]
        assert ("It explains the copy" in shown) == said


def test_a_file_that_has_gone_is_told_below_the_maps(
    masks: Masks, session: Session, view: View, tmp_path: Path
) -> None:
    file = write_masker(tiny_classifier(), tmp_path / "m.safetensors")
    result = made(view, f"masking@{file}")
    file.unlink()
    assert 'role="alert"' in drawn(masks, session, view, result)["masks"]
