"""How explainers are trained: the options, declared once, where nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import UserError
from core.parameters import Parameters, parameter

VARIABLE = "SATCHEL_EXPLAINERS"  # folders of trained explainers, besides the user's own and the shipped ones
SAMPLERS = ("informed", "shapley", "uniform", "gumbel")
LINKS = ("softmax", "identity")
DIVERGENCES = ("kl", "js", "cross-entropy", "mse")
FILLS = ("grey", "black")  # the null of the explainer is one for all pictures
PLAYERS = ("patches", "segments")


@dataclass(frozen=True)
class SalvageTraining(Parameters):
    """How a Salvage explainer is trained."""

    players: str = parameter(
        "patches", "Who has a value: patches of a grid, or each picture's segments", choices=PLAYERS
    )
    grid: int = parameter(
        14, "Patches along each side; of segments, how fine the map is that they are read from", low=2, high=32, step=1
    )
    epochs: int = parameter(20, "Times that the explainer sees every picture", low=1, high=1000, step=1)
    surrogate_epochs: int = parameter(
        10, "Times that the surrogate does; 0 leaves it out and asks the classifier itself", low=0, high=1000, step=1
    )
    batch: int = parameter(16, "Pictures a step", low=1, high=1024, step=1)
    subsets: int = parameter(8, "Masked copies of each picture a step", low=2, high=256, step=2)
    sampler: str = parameter("informed", "How subsets are drawn", choices=SAMPLERS)
    unbiased: bool = parameter(False, "Weigh informed subsets so that the Shapley kernel's optimum is aimed at")
    link: str = parameter("softmax", "How sums become a distribution; identity: probabilities as sums", choices=LINKS)
    divergence: str = parameter("kl", "What is made small between the distributions", choices=DIVERGENCES)
    temperature: float = parameter(1.0, "Of the softmax", low=0.1, high=10.0, step=0.1)
    whole: float = parameter(1.0, "Weight of the full picture's own loss", low=0.0, high=10.0, step=0.1)
    fill: str = parameter("grey", "What stands where players are absent", choices=FILLS)
    rate: float = parameter(1e-3, "Peak learning rate of the head", low=1e-6, high=0.1, step=1e-4)
    backbone_rate: float = parameter(0.1, "The features' rate, as a part of the head's; 0 keeps them as they are",
                                     low=0.0, high=1.0, step=0.05)  # fmt: skip
    width: int = parameter(128, "Channels of the head", low=16, high=512, step=8)
    mirror: bool = parameter(True, "Mirror every other picture, so that there are more to learn from")
    seed: int = parameter(0, "Same seed, same explainer", low=0, high=2**31, step=1)

    def check(self) -> None:
        """Raises UserError where options do not go together."""
        if (self.link == "identity") != (self.divergence == "mse"):
            raise UserError("Link identity goes with divergence mse, and only with it; choose both, or neither.")
        if self.width % 8:
            raise UserError(f"The width must be a multiple of 8, got {self.width}.")
