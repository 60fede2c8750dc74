"""Everything-mode: segment-anything's mask generator, some of whose steps are done with less work and memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from core.runtime.chunks import FixedChunk, chunked
from core.runtime.interrupt import check

if TYPE_CHECKING:
    from segment_anything.modeling import Sam as Module
    from segment_anything.utils.amg import MaskData

    from core.segments.sam.model import EverythingParameters

# points that go through the mask decoder together; more is not faster, and the masks are large
POINTS_AT_ONCE = {"cpu": 16, "cuda": 64}


def key_of(image: np.ndarray) -> str:
    """sha256 over a picture's pixels."""
    h = hashlib.sha256(f"{image.shape}".encode())
    h.update(np.ascontiguousarray(image).data)
    return h.hexdigest()


def remembering_predictor(module: Module, embed: Callable[[np.ndarray, str], Tensor]) -> Any:
    """A `SamPredictor` whose `set_image` asks elsewhere for a picture's embedding, which may be known already.

    Args:
        embed: picture [h, w, 3] uint8 and its key -> embedding [1, C, g, g].
    """
    from segment_anything import SamPredictor

    predictor: Any = SamPredictor(module)

    def set_image(image: np.ndarray, image_format: str = "RGB") -> None:
        if image_format != "RGB":
            raise ValueError(f"expected an RGB picture, got {image_format}")
        features = embed(image, key_of(image))
        predictor.reset_image()
        predictor.features = features
        predictor.original_size = image.shape[:2]
        predictor.input_size = predictor.transform.get_preprocess_shape(*image.shape[:2], module.image_encoder.img_size)
        predictor.is_image_set = True

    predictor.set_image = set_image
    return predictor


class Generator:
    """The package's `SamAutomaticMaskGenerator`, with the same masks as answer.

    Masks that the SAM itself thinks little of go before they are enlarged to the picture, points are asked a few at a
    time and fewer when memory runs out, and embeddings come from the predictor that is given.
    """

    def __init__(self, predictor: Any, parameters: EverythingParameters) -> None:
        from segment_anything import SamAutomaticMaskGenerator

        self.predictor = predictor
        self._chunk = FixedChunk(POINTS_AT_ONCE.get(predictor.device.type, 16))
        package: Any = SamAutomaticMaskGenerator(
            predictor.model,
            points_per_side=max(parameters.points, parameters.crop_points**parameters.crops),
            points_per_batch=1 << 30,  # split below
            pred_iou_thresh=parameters.quality,
            stability_score_thresh=parameters.stability,
            box_nms_thresh=parameters.duplicates,
            crop_n_layers=parameters.crops,
            crop_n_points_downscale_factor=parameters.crop_points,
            min_mask_region_area=parameters.min_area,
            output_mode="uncompressed_rle",
        )
        self._package, self._package_crop = package, package._process_crop
        package.predictor = predictor
        package._process_batch = self._batch
        package._process_crop = self._crop

    def generate(self, image: np.ndarray) -> list[dict[str, Any]]:
        """As the package's, masks as runs."""
        return self._package.generate(image)

    def _crop(self, *given: Any) -> MaskData:
        data = self._package_crop(*given)
        # the package's own has another shape where a crop gave no mask, over which it stumbles later
        data["crop_boxes"] = data["crop_boxes"].reshape(-1, 4)
        return data

    def _batch(
        self, points: np.ndarray, im_size: tuple[int, ...], crop_box: list[int], orig_size: tuple[int, ...]
    ) -> MaskData:
        from segment_anything.utils.amg import MaskData

        found = MaskData()

        def ask(start: int, end: int) -> None:
            found.cat(self._masks_at(points[start:end], im_size, crop_box, orig_size))

        for _ in chunked(self._chunk, self.predictor.device, len(points), ask):
            check()
        return found

    def _masks_at(
        self, points: np.ndarray, im_size: tuple[int, ...], crop_box: list[int], orig_size: tuple[int, ...]
    ) -> MaskData:
        """What the points [N, 2] of one crop give, filtered, as runs over the whole picture."""
        from segment_anything.utils import amg

        package, model, device = self._package, self.predictor.model, self.predictor.device
        placed = torch.as_tensor(self.predictor.transform.apply_coords(points, im_size), device=device)
        sparse, dense = model.prompt_encoder((placed[:, None], torch.ones(len(points), 1, device=device)), None, None)
        small, quality = model.mask_decoder(
            image_embeddings=self.predictor.features,
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        data = amg.MaskData(
            small=small.flatten(0, 1),
            iou_preds=quality.flatten(0, 1),
            points=torch.as_tensor(points.repeat(small.shape[1], axis=0)),
        )
        if package.pred_iou_thresh > 0:
            data.filter(data["iou_preds"] > package.pred_iou_thresh)
        logits = model.postprocess_masks(data["small"][:, None], self.predictor.input_size, im_size)[:, 0]
        del data["small"]
        data["logits"] = logits
        stability = amg.calculate_stability_score(logits, model.mask_threshold, package.stability_score_offset)
        data["stability_score"] = stability
        if package.stability_score_thresh > 0:
            data.filter(stability >= package.stability_score_thresh)
        data["masks"] = data["logits"] > model.mask_threshold
        del data["logits"], logits
        data["boxes"] = amg.batched_mask_to_box(data["masks"])
        height, width = orig_size
        data.filter(~amg.is_box_near_crop_edge(data["boxes"], crop_box, [0, 0, width, height]))
        data["rles"] = amg.mask_to_rle_pytorch(amg.uncrop_masks(data["masks"], crop_box, height, width))
        del data["masks"]
        return data
