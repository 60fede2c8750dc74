"""Maps of several explainers side by side, on rendered birds: the picture in docs/training.md.

    uv run python benchmarks/maps.py [--model demo:biased] [--out docs/maps.png]

Written under each: the forward passes of a picture, a backward pass counted as two.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kept import ROOT
from PIL import Image, ImageDraw, ImageFont

from core.choice import Choice
from core.data import Item
from core.demo.dataset import demo_dataset
from core.explain import explain
from core.images import Picture
from core.loading import load_classifier

BIRDS = (0, 8, 3)  # two kingfishers and a heron: numbers of the data set
METHODS = {
    "Salvage": "salvage",
    "masking": "masking",
    "KernelSHAP, 512": "kernel-shap:samples=512",
    "RISE": "rise:samples=1000",
    "suppression": "suppression",
    "Grad-CAM": "grad-cam",
}
SIDE, GAP, LINE = 168, 8, 20


def row(item: Item, model: str) -> list[tuple[Image.Image, str]]:
    """The picture and its maps, each with a line of text."""
    classifier = load_classifier(model)
    picture: Picture = item.picture()
    cells = [(picture.image, item.label or "")]
    for title, text in METHODS.items():
        made = explain(classifier, picture, Choice.parse(text))
        passes = made.attribution.forward_passes + 2 * made.attribution.backward_passes
        cells.append((made.overlay(), f"{title}: {passes}"))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo:biased")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "maps.png")
    asked = parser.parse_args()
    items = demo_dataset("birds").items
    rows = [row(items[number], asked.model) for number in BIRDS]
    width, height = len(rows[0]) * (SIDE + GAP) + GAP, len(rows) * (SIDE + LINE + GAP) + GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for down, cells in enumerate(rows):
        for right, (image, text) in enumerate(cells):
            x, y = GAP + right * (SIDE + GAP), GAP + down * (SIDE + LINE + GAP)
            sheet.paste(image.convert("RGB").resize((SIDE, SIDE)), (x, y))
            draw.text((x, y + SIDE + 3), text, fill="#333", font=font)
    sheet.quantize(192).save(asked.out, optimize=True)


if __name__ == "__main__":
    main()
