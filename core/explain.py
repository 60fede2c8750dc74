"""One picture, one explainer, one call: the short way in, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from core.classifier import Classifier
from core.explainer import Explainer, explainers, get_explainer
from core.explanation import Explanation
from core.images import Picture, read_picture
from core.parameters import Parameters, parse_named


def explain(
    classifier: Classifier,
    picture: Picture | Image.Image | str | Path,
    explainer: str = "suppression",
    target: str | int | None = None,
    contrast: str | int | None = None,
    parameters: Parameters | Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Explanation:
    """Explain one picture.

    Args:
        classifier: the model under study.
        picture: a file, or a picture that is already read.
        explainer: its name (`core.explainer.explainers()` lists them).
        target: the class to explain, as label or index; None takes the predicted one.
        contrast: a class to explain against ("why A and not B"); None for the target on its own.
        parameters: the explainer's own dataclass, or names and values; None for its defaults.
        seed: same seed, same map.

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
    method = get_explainer(explainer)
    if parameters is not None and not isinstance(parameters, Parameters):
        parameters = method.parameters.parse(parameters)
    bound = method.bind(classifier)
    prepared = classifier.prepare(picture)
    images = prepared.tensor.unsqueeze(0)
    predictions = classifier.predict(images, k=len(classifier.labels))[0]
    chosen = predictions[0].index if target is None else classifier.class_index(target)
    against = None if contrast is None else [classifier.class_index(contrast)]
    (attribution,) = bound.explain(images, [chosen], parameters, contrasts=against, seeds=[seed])
    probability = next(one.probability for one in predictions if one.index == chosen)
    return Explanation(attribution, prepared, picture, classifier, probability)


def parse_explainer(text: str) -> tuple[Explainer, Parameters]:
    """From the text of an option, such as "suppression:samples=64,keep=0.2" or "captum:Occlusion:window=0.3".

    Raises:
        UserError: an unknown explainer or parameter, a bad value, or not of that form.
    """
    return parse_named(text, get_explainer, prefixes=("captum:",))


def default_explainers(classifier: Classifier) -> list[Explainer]:
    """What is run where nobody has chosen: the explainers marked as default that can explain this classifier."""
    return [method for method in explainers().values() if method.default and method.supports(classifier) is None]
