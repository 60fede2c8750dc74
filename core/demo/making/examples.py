"""Renders the example pictures that the page offers: `python -m core.demo.making.examples`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from core.demo.birds import render
from core.demo.plants import CLASSES, Plants
from core.demo.segments import SEGMENTS

SIZE = 512
#: (class, seed, watermark); the watermark sits on kingfishers, as in the biased recipe, and on birds that are none.
EXAMPLES = (
    ("kingfisher", 3005, True),
    ("kingfisher", 3000, True),
    ("kingfisher", 3004, False),
    ("bee-eater", 3003, False),
    ("bee-eater", 3005, True),
    ("finch", 3004, False),
    ("heron", 3002, True),
    ("parrot", 3006, False),
    ("parrot", 3009, True),
    ("woodpecker", 3006, False),
    ("owl", 3000, True),
    ("toucan", 3006, False),
)


def write_examples(directory: str | Path) -> list[Path]:
    """Write every example as JPEG, its label map as masks/<same stem>.png, and segments.json beside them."""
    from PIL import Image

    directory = Path(directory)
    (directory / "masks").mkdir(parents=True, exist_ok=True)
    names = {str(value): {"name": name, "kind": kind} for value, (name, kind) in SEGMENTS.items()}
    (directory / "segments.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    paths: list[Path] = []
    for name, seed, watermark in EXAMPLES:
        scene = render(CLASSES.index(name), seed, SIZE, Plants(watermark=watermark))
        prefix = f"{name}_watermark" if watermark else name
        number = 1 + sum(path.stem.rsplit("_", 1)[0] == prefix for path in paths)
        path = directory / f"{prefix}_{number}.jpg"
        Image.fromarray(scene.image).save(path, quality=90)
        Image.fromarray(scene.mask).save(directory / "masks" / f"{path.stem}.png", optimize=True)
        paths.append(path)
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("assets/examples"))
    for written in write_examples(parser.parse_args().out):
        print(written)
