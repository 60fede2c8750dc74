"""The gradient family: one gradient integration (integration.py); its members differ in which pictures it visits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from core.attribution import Unit
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import Estimate, Explainer, register
from core.explainers.integration import REDUCTIONS, SIGNED_REDUCTIONS, input_gradient, integrate, visited
from core.explainers.presets import tolerance_parameter
from core.explainers.samplers import ExpectedPath, Identity, Noise, Path, Sampler
from core.explainers.suppression import FILL, NOISE, OPERATORS, Suppression, suppression
from core.fills import PLATES
from core.job import Job
from core.parameters import Parameters, parameter

SCALES = ("logit", "log-probability", "probability")


def _samples(help: str, default: int = 50) -> Any:  # noqa: A002
    return parameter(default, help, low=1, high=1024, step=1)


def _reduction(default: str) -> Any:
    return parameter(default, "How the gradients of the samples and colours become one value", choices=REDUCTIONS)


def _scale() -> Any:
    return parameter("logit", "What the gradient is of: the class's logit, or its (log-)probability", choices=SCALES)


class GradientExplainer(Explainer):
    """Shared by the family: a sampler made from the parameters, then `integrate`.

    Class attributes:
        whole_way: its samples lie along whole ways from a start to the picture, so that "times input" is a density: it
            sums to the change of the score on the way. Gradients that are only averaged around the picture add up to
            nothing, and magnitudes never do.
    """

    family = "gradient"
    whole_way: ClassVar[bool] = False

    @abstractmethod
    def sampler(self, parameters: Any, job: Job) -> Sampler: ...

    def is_signed(self, parameters: Any) -> bool:
        return parameters.reduction in SIGNED_REDUCTIONS

    def unit_of(self, parameters: Any) -> Unit:
        return "density" if self.whole_way and parameters.reduction == "times input" else "intensity"

    def check(self, parameters: Any) -> None:
        if parameters.reduction != "variance":
            return
        if parameters.samples < 2:
            raise UserError("A variance needs at least 2 samples; raise samples or choose another reduction.")
        if parameters.tolerance > 0:
            raise UserError(
                "The error of a variance is not known, so it cannot stop at a tolerance; set tolerance to 0 or choose "
                "another reduction."
            )

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        p = job.parameters
        reading = input_gradient(classifier, job, p.reduction, p.scale)
        tolerance = getattr(p, "tolerance", 0.0)
        yield from integrate(classifier, job, self.sampler(p, job), reading, self.fill(p), tolerance)

    def visited(self, job: Job, count: int) -> Tensor | None:
        sampler = self.sampler(job.parameters, job)
        return None if isinstance(sampler, Identity) else visited(sampler, job, self.fill(job.parameters), count)

    def fill(self, parameters: Any) -> str:
        """The plate that samples begin from; of those that have none it does not matter."""
        return getattr(parameters, "fill", "mean")


@dataclass(frozen=True)
class GradientParameters(Parameters):
    reduction: str = parameter(
        "absolute", "How the colours' gradients become one value", choices=("absolute", "signed", "squared")
    )
    scale: str = _scale()


@register
class Gradient(GradientExplainer):
    """Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks (2013)."""

    name = "gradient"
    title = "Gradient"
    summary = "How much the score changes when a pixel changes a little."
    parameters = GradientParameters

    def sampler(self, parameters: GradientParameters, job: Job) -> Sampler:
        return Identity()


@dataclass(frozen=True)
class IntegratedGradientsParameters(Parameters):
    samples: int = _samples("Points on the path from the baseline to the picture")
    fill: str = parameter("mean", "The baseline the path starts from", choices=PLATES)
    reduction: str = parameter(
        "times input",
        "How the gradients of the path and colours become one value",
        choices=tuple(r for r in REDUCTIONS if r != "variance"),
    )
    scale: str = _scale()


@register
class IntegratedGradients(GradientExplainer):
    """Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks (ICML 2017). Sums to the score's difference."""

    name = "integrated-gradients"
    title = "Integrated gradients"
    summary = "Gradients added up on the way from a featureless picture to this one; says for and against."
    parameters = IntegratedGradientsParameters
    signed = True
    unit = "density"
    whole_way = True
    default = True

    def sampler(self, parameters: IntegratedGradientsParameters, job: Job) -> Sampler:
        return Path(parameters.samples)


@dataclass(frozen=True)
class ExpectedGradientsParameters(Parameters):
    samples: int = _samples("Random points between a random reference and the picture", 100)
    reduction: str = _reduction("times input")
    scale: str = _scale()
    tolerance: float = tolerance_parameter()


@register
class ExpectedGradients(GradientExplainer):
    """Erion et al.: expected gradients (Nature Machine Intelligence 2021): integrated gradients from many baselines.

    The baselines are the job's references (other pictures of a data set) where it has some, else plain random colours.
    """

    name = "expected-gradients"
    title = "Expected gradients"
    summary = "Integrated gradients from many random baselines instead of one."
    parameters = ExpectedGradientsParameters
    signed = True
    unit = "density"
    whole_way = True
    random = True
    takes_references = True

    def sampler(self, parameters: ExpectedGradientsParameters, job: Job) -> Sampler:
        return ExpectedPath(parameters.samples, job.references)


@dataclass(frozen=True)
class SmoothGradParameters(Parameters):
    samples: int = _samples("Noisy copies of the picture")
    sigma: float = parameter(0.15, "Noise, as a part of the full brightness range", low=0.0, high=1.0, step=0.01)
    distribution: str = parameter("gaussian", "How the noise is distributed", choices=("gaussian", "uniform"))
    reduction: str = _reduction("absolute")
    scale: str = _scale()
    tolerance: float = tolerance_parameter()


@register
class SmoothGrad(GradientExplainer):
    """Smilkov, Thorat, Kim, Viegas, Wattenberg: SmoothGrad (2017).

    With the reduction "variance" it is VarGrad (Adebayo et al. 2018).
    """

    name = "smoothgrad"
    title = "SmoothGrad"
    summary = "Gradients averaged over noisy copies of the picture."
    parameters = SmoothGradParameters
    random = True
    default = True

    def sampler(self, parameters: SmoothGradParameters, job: Job) -> Sampler:
        return Noise(parameters.samples, parameters.sigma, parameters.distribution)


@dataclass(frozen=True)
class SuppressionParameters(Parameters):
    samples: int = _samples("Copies of the picture with features suppressed")
    operator: str = parameter(
        Suppression.operator,
        "How features are taken away: all of a cell by one factor (gain), smoothly, or cut out",
        choices=OPERATORS,
    )
    cell: int = parameter(Suppression.cell, "Size of a cell in pixels of the model's frame", low=2, high=128, step=1)
    keep: float = parameter(Suppression.keep, "Least part of a feature that is kept", low=0.0, high=0.95, step=0.05)
    fade: bool = parameter(Suppression.fade, "Fade the whole picture too, by a factor of its own")
    noise: float = parameter(
        NOISE, "Pixel noise on top, as a part of the brightness range", low=0.0, high=0.5, step=0.01
    )
    fill: str = parameter(FILL, "What shows where features are suppressed", choices=PLATES)
    reduction: str = _reduction("absolute")
    scale: str = _scale()
    tolerance: float = tolerance_parameter()


@register
class SuppressionSampling(GradientExplainer):
    """Luo, McDermott, O'Riordan: Sampling Matters in Explanations (arXiv 2506.19442); see suppression.Suppression."""

    name = "suppression"
    title = "Suppression sampling"
    summary = "Gradients averaged over copies whose features are partly faded out, which stay natural pictures."
    parameters = SuppressionParameters
    random = True
    default = True
    reported = True

    def sampler(self, parameters: SuppressionParameters, job: Job) -> Sampler:
        p = parameters
        return suppression(p.samples, p.noise, operator=p.operator, cell=p.cell, keep=p.keep, fade=p.fade)
