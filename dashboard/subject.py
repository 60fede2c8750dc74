"""Whose results stand on the page, and whether that is the model chosen in the header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from core.classifier import Classifier

SHIPPED = "demo-biased"  # the report and the evaluation that come along and are shown first


def short(model: str) -> str:
    """A model's name without the folders that its checkpoint lies in."""
    return re.sub(r"@.*[/\\]", "@", model)


def is_about(manifest: Mapping[str, Any], classifier: Classifier) -> bool:
    """Whether results are about this very model: names may be the same after its weights have changed."""
    return manifest.get("fingerprint") == classifier.fingerprint


def stranger_html(what: str, manifest: Mapping[str, Any], spec: str, elsewhere: str, remedy: str) -> str:
    """One sentence: the results in view are not about the model that is chosen.

    Args:
        what: "report" or "evaluation". spec: what the chosen model is called.
        elsewhere: the name of the results that are about that model, if there are any.
        remedy: what to do where there are none; `code` in backticks.
    """
    about, chosen = short(str(manifest["model"])), short(spec)
    said = f"This {what} is about {about}; you have chosen {chosen}, "
    if about == chosen:
        said = f"This {what} is about another {about} than the one you have chosen (weights or preprocessing differ), "
    said += (
        f"whose {what} is {elsewhere}, in the list above."
        if elsewhere
        else f"for which there is no {what} yet: {remedy}"
    )
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(said))
    sign = '<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M6 1 11.4 11H.6ZM6 4.4V7.4M6 8.6V9.6"/></svg>'
    return f'<p class="stranger" data-testid="{what}-stranger" role="status">{sign}<span>{marked}</span></p>'
