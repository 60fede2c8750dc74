"""One picture, one explainer, one call: the short way in, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from core.attribution import Attribution
from core.classifier import Classifier
from core.explainer import Explainer, explainers, get_explainer
from core.images import Picture, read_picture
from core.parameters import Parameters, parse_named
from core.preprocessing import Prepared
from core.segments import Segments, check_size, regions_of


def explain(
    classifier: Classifier,
    picture: Picture | Image.Image | str | Path,
    explainer: str = "suppression",
    target: str | int | None = None,
    contrast: str | int | None = None,
    parameters: Parameters | Mapping[str, Any] | None = None,
    seed: int = 0,
    segments: Segments | None = None,
) -> tuple[Attribution, Prepared]:
    """Explain one picture.

    Args:
        classifier: the model under study.
        picture: a file, or a picture that is already read.
        explainer: its name (`core.explainer.explainers()` lists them).
        target: the class to explain, as label or index; None takes the predicted one.
        contrast: a class to explain against ("why A and not B"); None for the target on its own.
        parameters: the explainer's own dataclass, or names and values; None for its defaults.
        seed: same seed, same map.
        segments: of the upright picture, for explainers that are asked to remove them ("occlusion" with
            {"regions": "segments"}); what each is worth is then in `attribution.players`.

    Returns:
        The attribution ([H, W] in the model's frame), and the prepared picture, whose geometry lays the map back over
        the picture: `prepared.geometry.map_to_picture(attribution.values)`.

    Raises:
        UserError: the picture cannot be read, a name is unknown, a value is out of bounds, or the explainer cannot
            explain this classifier.
    """
    if isinstance(picture, (str, Path)):
        picture = read_picture(picture)
    method = get_explainer(explainer)
    if parameters is not None and not isinstance(parameters, Parameters):
        parameters = method.parameters.parse(parameters)
    bound = method.bind(classifier)
    prepared = classifier.prepare(picture)
    images = prepared.tensor.unsqueeze(0)
    chosen = classifier.predict(images, k=1)[0][0].index if target is None else classifier.class_index(target)
    against = None if contrast is None else [classifier.class_index(contrast)]
    regions = None
    if segments is not None:
        check_size(segments, prepared.geometry.picture_size, "the picture")
        regions = regions_of([(segments, segments.to_model(prepared.geometry))])
    (attribution,) = bound.explain(images, [chosen], parameters, contrasts=against, seeds=[seed], regions=regions)
    return attribution, prepared


def parse_explainer(text: str) -> tuple[Explainer, Parameters]:
    """From the text of an option, such as "suppression:samples=64,keep=0.2" or "captum:Occlusion:window=0.3".

    Raises:
        UserError: an unknown explainer or parameter, a bad value, or not of that form.
    """
    return parse_named(text, get_explainer, prefixes=("captum:",))


def default_explainers(classifier: Classifier) -> list[Explainer]:
    """What is run where nobody has chosen: the explainers marked as default that can explain this classifier."""
    return [method for method in explainers().values() if method.default and method.supports(classifier) is None]
