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
    normalise: bool = parameter(True, "Shift values so that they add up to what the network itself says of the picture")
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


PARTS = ("both", "in", "out")
REGIMES = ("fixed", "joint")
HISTORIES = ("casm", "repo", "none")
PAPER = {"fixed": 10.0, "joint": 15.0}  # weights of a small masked-out area


@dataclass(frozen=True)
class MaskingTraining(Parameters):
    """How a masking model is trained; defaults are the paper's (Phang, Park and Geras 2020) but for the epochs."""

    objective: str = parameter(
        "both", "What the mask must do: keep the class (in), take it away where it is left out (out), or both",
        choices=PARTS,
    )  # fmt: skip
    regime: str = parameter(
        "fixed", "joint: a copy of the classifier learns masked pictures along; its masks explain that copy",
        choices=REGIMES,
    )  # fmt: skip
    epochs: int = parameter(20, "Times that it sees every picture", low=1, high=1000, step=1)
    batch: int = parameter(16, "Pictures a step", low=1, high=1024, step=1)
    examples_per_class: int = parameter(
        0, "Learn from so many pictures of each class only; 0: from all", low=0, high=1000, step=1
    )
    area_in: float = parameter(
        1.0, "How much a small mask counts where it keeps the class", low=0.0, high=100.0, step=0.5
    )
    area_out: float = parameter(
        0.0, "How much it counts where the rest has lost the class; 0: as in the paper, 10, and 15 with joint",
        low=0.0, high=100.0, step=0.5,
    )  # fmt: skip
    smooth: float = parameter(1e-3, "Weight of the mask's total variation; 0: none", low=0.0, high=1.0, step=1e-3)
    fill: str = parameter(
        "grey", "What stands where the mask takes away", choices=("grey", "black", "mean", "blur", "inpaint")
    )
    history: str = parameter(
        "casm", "With joint, half of the masks are held against past copies (casm), or those steps leave the copy "
        "alone (repo, as the paper's code does)", choices=HISTORIES,
    )  # fmt: skip
    hard: bool = parameter(False, "Masks of 0 and 1, learned by the Gumbel sigmoid")
    tell_area: bool = parameter(False, "Tell it how much to keep, and let it be told when it explains")
    tell_class: bool = parameter(False, "Tell it which class to look for; otherwise there is one mask a picture")
    rate: float = parameter(1e-3, "Learning rate of the masker, a tenth of it after each third", low=1e-6, high=0.1,
                            step=1e-4)  # fmt: skip
    copy_rate: float = parameter(1e-3, "The same of the copy that learns along", low=1e-6, high=0.1, step=1e-4)
    mirror: bool = parameter(True, "Mirror every other picture, so that there are more to learn from")
    seed: int = parameter(0, "Same seed, same masks", low=0, high=2**31, step=1)

    def check(self) -> None:
        """Raises UserError where options do not go together: these always do."""

    @property
    def weight_out(self) -> float:
        """Of a small masked-out area."""
        return self.area_out or PAPER[self.regime]


OPTIONS: dict[str, type[SalvageTraining] | type[MaskingTraining]] = {
    "salvage": SalvageTraining,
    "masking": MaskingTraining,
}
"""What can be trained, by the explainer's name."""
