"""Segment Anything: clicks, boxes and everything-mode over a picture's upright pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.errors import UserError
from core.images import Picture
from core.parameters import Parameters, parameter
from core.runtime.chunks import out_of_memory
from core.runtime.device import choose_device, choose_precision
from core.runtime.fingerprints import add_weights
from core.runtime.progress import OnProgress
from core.runtime.recent import Recent
from core.segments.mask import Mask
from core.segments.sam.checkpoints import COMPACT, load_sam
from core.segments.sam.embeddings import EmbeddingCache
from core.segments.segments import Segment, Segments
from core.segments.unsure import SURE, nearest_regions

if TYPE_CHECKING:
    from segment_anything.modeling import Sam as Module

# masks are made over at most so many pixels a side: 64 of a 12-megapixel picture would be several gigabytes
LONGEST = 1024
REMEMBERED = 8  # pictures whose embeddings stay in memory
ALIKE = 0.95  # IoU above which a further candidate says nothing new
CERTAIN = 10.0  # the logit of a pixel that is surely inside

Value = TypeVar("Value")


POINTS = "points a side of the grid that is asked"
QUALITY = "least quality that the SAM itself gives a mask"
STABILITY = "least IoU of a mask at a stricter and a laxer threshold"


@dataclass(frozen=True)
class EverythingParameters(Parameters):
    """Of segment-anything's `SamAutomaticMaskGenerator`, in plain words and with its defaults."""

    points: int = parameter(32, POINTS, low=1, high=64, step=1)
    quality: float = parameter(0.88, QUALITY, low=0.0, high=1.0, step=0.01)
    stability: float = parameter(0.95, STABILITY, low=0.0, high=1.0, step=0.01)
    duplicates: float = parameter(0.7, "box IoU above which the lesser of two masks goes", low=0.1, high=1.0, step=0.01)
    crops: int = parameter(0, "layers of crops that are cut as well, for small things", low=0, high=2, step=1)
    crop_points: int = parameter(2, "how many times fewer points a side a crop gets", low=1, high=4, step=1)
    min_area: int = parameter(0, "holes and islands up to so many pixels are closed", low=0, high=10_000, step=10)


@dataclass(frozen=True)
class CompactParameters(EverythingParameters):
    """The same with defaults for the compact SAM, whose masks are less sure (docs/sam.md)."""

    points: int = parameter(24, POINTS, low=1, high=64, step=1)
    quality: float = parameter(0.4, QUALITY, low=0.0, high=1.0, step=0.01)
    stability: float = parameter(0.3, STABILITY, low=0.0, high=1.0, step=0.01)


def usual_parameters(spec: str) -> type[EverythingParameters]:
    """The parameters whose defaults fit a SAM."""
    return CompactParameters if spec.partition("@")[0] == COMPACT else EverythingParameters


@dataclass(frozen=True, eq=False)
class Answer:
    """What a prompt may mean, the likeliest first.

    Attributes:
        masks: bool [K, h, w] over the upright picture.
        scores: the IoU that the SAM expects of each with what is meant, in [0, 1].
        logits: [K, m, m] float32; one of them as `previous` makes the next click a correction of that mask.
        regions: which of them are the picture's own regions, offered where the SAM is unsure.
    """

    masks: np.ndarray
    scores: tuple[float, ...]
    logits: np.ndarray
    regions: frozenset[int] = frozenset()


class Sam:
    """A SAM that answers prompts. Calls from several threads do not disturb one another.

    Attributes:
        name: its spec; it stands in the source of every segment.
        fingerprint: sha256 over its weights.
        cache: where embeddings and finished cuts are kept, by picture and fingerprint.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        cache: EmbeddingCache | None = None,
    ) -> None:
        self.name = name
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.cache = cache if cache is not None else EmbeddingCache()
        self._module = module.eval().requires_grad_(False).to(self.device)
        self._side = module.image_encoder.img_size
        h = hashlib.sha256()
        add_weights(h, self._module)
        self.fingerprint = h.hexdigest()
        self._embeddings: Recent[str, Tensor] = Recent(REMEMBERED)
        self._views: Recent[int, tuple[Image.Image, np.ndarray]] = Recent(REMEMBERED)

    @property
    def source(self) -> str:
        """What stands in the segments that it makes: its spec, without the folder of a file."""
        name, at, file = self.name.partition("@")
        return f"sam:{name}{at}{Path(file).name}"

    @property
    def click_means_part(self) -> bool:
        """The compact SAM's single output was taught the part under one click; the published ones' was not."""
        return usual_parameters(self.name) is CompactParameters

    def predict(
        self,
        picture: Picture,
        points: Sequence[tuple[float, float]] = (),
        labels: Sequence[int] = (),
        box: tuple[float, float, float, float] | None = None,
        previous: np.ndarray | None = None,
    ) -> Answer:
        """Masks for one prompt.

        One click may mean a part, a thing or a group: there are several candidates then. Boxes and further clicks say
        more, and there is one. Where the compact SAM is unsure of its mask for a click, the picture's own regions that
        are most like its masks come first (`core.segments.unsure`).

        Args:
            points: (x, y) in pixels of the upright picture; labels: one each, 1 inside and 0 outside.
            box: (left, top, right, bottom).
            previous: logits [m, m] of an earlier answer, which this prompt corrects.

        Raises:
            UserError: no prompt, or one that does not lie in the picture; or memory runs out.
        """
        where, marks, frame = _checked(points, labels, box, picture.size)
        view = self._view(picture)
        scale = np.array([view.shape[1] / picture.size[1], view.shape[0] / picture.size[0]])
        asked: dict[str, Any] = {
            "point_coords": where * scale if len(where) else None,
            "point_labels": marks if len(where) else None,
            "box": frame * np.tile(scale, 2) if frame is not None else None,
            "mask_input": previous[None] if previous is not None else None,
        }
        ambiguous = frame is None and len(where) == 1 and previous is None

        def ask() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            predictor = self._predictor()
            predictor.set_image(view)
            single = not ambiguous or self.click_means_part
            parts = [predictor.predict(**asked, multimask_output=False)] if single else []
            if ambiguous:
                masks, scores, logits = predictor.predict(**asked, multimask_output=True)
                order = np.argsort(-scores, kind="stable")
                parts.append((masks[order], scores[order], logits[order]))
            masks, scores, logits = (np.concatenate(values) for values in zip(*parts))
            return masks, scores, logits

        masks, scores, logits = _in_memory(ask, self.name)
        own = masks[:0]
        if ambiguous and self.click_means_part and scores[0] < SURE:
            own = np.stack(nearest_regions(picture, points[0], masks))
            masks, scores = np.concatenate([own, masks]), np.concatenate([scores, scores])
            logits = np.concatenate([_as_logits(own, logits.shape[-1]), logits])
        kept = _different(masks)
        return Answer(
            masks=np.stack([_enlarged(masks[i], picture.size) for i in kept]),
            scores=tuple(min(1.0, max(0.0, float(scores[i]))) for i in kept),
            logits=logits[kept].astype(np.float32),
            regions=frozenset(place for place, i in enumerate(kept) if i < len(own)),
        )

    def everything(self, picture: Picture, parameters: EverythingParameters | None = None) -> Segments:
        """Masks for all that it finds, unnamed, the largest first.

        Raises:
            UserError: memory runs out, however few points are asked at once.
        """
        from core.segments.sam.everything import Generator, key_of

        parameters = parameters if parameters is not None else usual_parameters(self.name)()
        view = self._view(picture)
        key = f"everything {key_of(view)} {self.fingerprint} {self.precision} {parameters}"
        kept = self.cache.read(key)
        if kept is None:
            made = _in_memory(lambda: Generator(self._predictor(), parameters).generate(view), self.name)
            kept = _packed(made)
            self.cache.write(key, kept)
        items = []
        for counts, score in _unpacked(kept):
            mask = Mask(counts, (view.shape[0], view.shape[1]))
            if mask.size != picture.size:
                mask = Mask.from_dense(_enlarged(mask.decode(), picture.size))
            items.append(Segment(mask, score=score, source=self.source))
        items.sort(key=lambda item: -item.mask.area)
        return Segments(picture.size, tuple(items), tuple(self.cache.notes))

    def embedding(self, picture: Picture) -> Tensor:
        """[C, g, g] float32 on the CPU: what its encoder makes of a picture, padded to a square at the right or below.

        Raises:
            UserError: memory runs out.
        """
        predictor = self._predictor()
        _in_memory(lambda: predictor.set_image(self._view(picture)), self.name)
        return predictor.features[0].float().cpu()

    def _predictor(self) -> Any:
        """A predictor keeps the state of one prompt, so that every call gets its own."""
        from core.segments.sam.everything import remembering_predictor

        return remembering_predictor(self._module, self._embed)

    def _embed(self, image: np.ndarray, digest: str) -> Tensor:
        known = self._embeddings.get(digest)
        if known is not None:
            return known
        key = f"embedding {digest} {self.fingerprint} {self.precision}"
        kept = self.cache.read(key)
        found = kept["embedding"].to(self.device) if kept else self._encode(image)
        if kept is None:
            self.cache.write(key, {"embedding": found})
        self._embeddings.put(digest, found)
        return found

    @torch.no_grad()
    def _encode(self, image: np.ndarray) -> Tensor:
        from segment_anything import SamPredictor

        predictor: Any = SamPredictor(self._module)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            predictor.set_image(image)
        # rounded as the cache rounds it, so that what comes from there changes no mask
        rounded = predictor.features.half().float()
        return rounded if bool(torch.isfinite(rounded).all()) else predictor.features.float()

    def _view(self, picture: Picture) -> np.ndarray:
        """uint8 [h, w, 3]: the picture with at most LONGEST pixels a side."""
        height, width = picture.size
        if min(height, width) * self._side < 0.5 * max(height, width):
            raise UserError(f"{picture.name} is too narrow for a SAM ({width} x {height} pixels); crop it.")
        known = self._views.get(id(picture.image))
        if known is not None and known[0] is picture.image:
            return known[1]
        shrink = LONGEST / max(height, width)
        image = picture.image
        if shrink < 1:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            image = image.resize(size, Image.Resampling.BILINEAR)
        view = np.asarray(image)
        self._views.put(id(picture.image), (picture.image, view))
        return view


def open_sam(
    spec: str,
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    cache: EmbeddingCache | None = None,
    progress: OnProgress | None = None,
) -> Sam:
    """A SAM by its spec, as of `load_sam`.

    Raises:
        UserError: as of `load_sam`, or the device does not exist here.
    """
    device = choose_device(device)
    return Sam(load_sam(spec, progress), spec, device=device, precision=precision, cache=cache)


def _checked(
    points: Sequence[tuple[float, float]], labels: Sequence[int], box: Any, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The prompt as arrays [N, 2], [N] and [4], if it makes sense."""
    height, width = size
    where, marks = np.asarray(points, float).reshape(-1, 2), np.asarray(labels, int).reshape(-1)
    if len(where) != len(marks):
        raise UserError(f"{len(where)} points need as many labels (1 inside, 0 outside), got {len(marks)}.")
    if not len(where) and box is None:
        raise UserError("Click on the picture or draw a box first.")
    if not np.isin(marks, (0, 1)).all():
        raise UserError("The label of a point must be 1 (inside) or 0 (outside).")
    if not ((where >= 0) & (where <= (width, height))).all():
        raise UserError(f"A point lies outside the picture of {width} x {height} pixels; click inside.")
    if box is None:
        return where, marks, None
    corners = np.asarray(box, float).reshape(-1)
    if len(corners) != 4 or not np.isfinite(corners).all():
        raise UserError("A box has four numbers: left, top, right, bottom.")
    corners = np.clip(corners, 0, (width, height, width, height))
    if corners[2] - corners[0] < 1 or corners[3] - corners[1] < 1:
        raise UserError("The box covers no pixel of the picture; draw it from one corner to the other.")
    return where, marks, corners


def _different(masks: np.ndarray) -> list[int]:
    """Which of the masks [K, h, w] to keep: those that are not nearly the same as one before."""
    kept: list[int] = []
    for i, mask in enumerate(masks):
        seen = (masks[j] for j in kept)
        if all((mask & other).sum() <= ALIKE * max(1, (mask | other).sum()) for other in seen):
            kept.append(i)
    return kept


def _as_logits(masks: np.ndarray, side: int) -> np.ndarray:
    """Masks [K, h, w] as a SAM would have said them, [K, side, side]: the picture at the upper left of a square."""
    height, width = masks.shape[1:]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    logits = np.full((len(masks), side, side), -CERTAIN, np.float32)
    for into, mask in zip(logits, masks):
        small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR))
        into[: size[1], : size[0]] = CERTAIN * (small / 127.5 - 1)
    return logits


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A bool mask at another size (height, width), its edges smooth."""
    if mask.shape == size:
        return mask
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(grey.resize((size[1], size[0]), Image.Resampling.BILINEAR)) > 127


def _packed(made: list[dict[str, Any]]) -> dict[str, Tensor]:
    """What the mask generator answers, as tensors for the cache."""
    runs = [one["segmentation"]["counts"] for one in made]
    return {
        "runs": torch.tensor([count for counts in runs for count in counts], dtype=torch.int32),
        "lengths": torch.tensor([len(counts) for counts in runs], dtype=torch.int32),
        # in thousandths, since the cache keeps whole numbers as they are
        "scores": torch.tensor([round(1000 * one["predicted_iou"]) for one in made], dtype=torch.int32),
    }


def _unpacked(kept: dict[str, Tensor]) -> list[tuple[np.ndarray, float]]:
    """(runs, score in [0, 1]) of each mask."""
    runs = torch.split(kept["runs"], kept["lengths"].tolist())
    return [(run.numpy(), min(1.0, max(0.0, score / 1000))) for run, score in zip(runs, kept["scores"].tolist())]


def _in_memory(work: Callable[[], Value], name: str) -> Value:
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(
            f"Memory ran out in SAM {name}, even with one point at a time; take a smaller SAM, or the CPU."
        ) from error
