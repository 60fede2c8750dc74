"""Names as people write them, made comparable."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """With composed accents: file systems, editors and archives differ in how they write the same letter."""
    return unicodedata.normalize("NFC", text)
