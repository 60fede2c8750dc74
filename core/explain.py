"""One picture, one explainer, one call: the short way in, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from core.choice import Choice
from core.classifier import Classifier
from core.explainer import get_explainer
from core.explanation import Explanation
from core.images import Picture, read_picture
from core.parameters import Parameters
from core.runtime.randomness import picture_seeds
from core.segments import Segments, check_size, regions_of


def explain(
    classifier: Classifier,
    picture: Picture | Image.Image | str | Path,
    explainer: str | Choice = "suppression",
    target: str | int | None = None,
    contrast: str | int | None = None,
    parameters: Parameters | Mapping[str, Any] | None = None,
    seed: int = 0,
    segments: Segments | None = None,
) -> Explanation:
    """Explain one picture.

    Args:
        classifier: the model under study.
        picture: a file, or a picture that is already read.
        explainer: its name (`core.explainer.explainers()` lists them), or a choice with all that belongs to it.
        target: the class to explain, as label or index; None takes the predicted one.
        contrast: a class to explain against ("why A and not B"); None for the target on its own.
        parameters: the explainer's own dataclass, or names and values; None for its defaults, or what the choice has.
        seed: same seed, same map.
        segments: of the upright picture, for explainers that are asked to remove them ("occlusion" with
            {"regions": "segments"}); what each is worth is then in `attribution.players`.

    Returns:
        The map with its picture: see `Explanation`. `attribution, prepared = explain(...)` takes it apart.

    Raises:
        UserError: the picture cannot be read, a name is unknown, a value is out of bounds, or the explainer cannot
            explain this classifier.
    """
    if isinstance(picture, (str, Path)):
        picture = read_picture(picture)
    elif isinstance(picture, Image.Image):
        picture = Picture(picture.convert("RGB"))
    choice = explainer if isinstance(explainer, Choice) else Choice(explainer)
    if parameters is not None:
        if not isinstance(parameters, Parameters):
            parameters = get_explainer(choice.explainer).parameters.parse(parameters)
        choice = replace(choice, parameters=parameters)
    bound = choice.bind(classifier)
    prepared = classifier.prepare(picture)
    images = prepared.tensor.unsqueeze(0)
    predictions = classifier.predict(images, k=len(classifier.labels))[0]
    chosen = predictions[0].index if target is None else classifier.class_index(target)
    against = None if contrast is None else [classifier.class_index(contrast)]
    regions = None
    if segments is not None:
        check_size(segments, prepared.geometry.picture_size, "the picture")
        regions = regions_of([(segments, segments.to_model(prepared.geometry))])
    seeds = picture_seeds(seed, images)
    (attribution,) = bound.explain(images, [chosen], contrasts=against, seeds=seeds, regions=regions)
    probability = next(one.probability for one in predictions if one.index == chosen)
    attribution = replace(attribution, seed=seed)  # as it was asked for
    return Explanation(attribution, prepared, picture, classifier, choice, probability, seed)
