"""Loading by spec, and what is said where that fails."""

from __future__ import annotations

import pytest

from core.classifier import Classifier
from core.errors import UserError
from core.loading import load_classifier


def load(spec: str, **options) -> Classifier:
    return load_classifier(spec, device="cpu", **options)


def says(spec: str, *words: str, **options) -> None:
    with pytest.raises(UserError) as caught:
        load(spec, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
