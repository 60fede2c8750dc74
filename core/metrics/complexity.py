"""How much of the map does one have to look at?"""

from __future__ import annotations

import torch
from torch import Tensor

from core.metrics.metric import Case, Metric, register
from core.parameters import Parameters


@register
class Sparseness(Metric):
    """Chalasani, Chen, Chowdhury, Wu, Jha: Concise Explanations of Neural Networks (ICML 2020): the Gini index.

    Of the absolute values: 0 where all pixels have the same, towards 1 where one pixel has all.
    """

    name = "sparseness"
    title = "Sparseness"
    usual = True
    summary = "Whether a few pixels carry the map (near 1) or all of them alike (near 0)."
    family = "complexity"
    higher_is_better = True
    reference = "Chalasani, Chen, Chowdhury, Wu, Jha: Concise Explanations of Neural Networks (ICML 2020)"

    def judge(self, case: Case, parameters: Parameters) -> Tensor:
        rows = case.values.abs().flatten(1).double().sort(dim=1).values
        count = rows.shape[1]
        weights = 2 * torch.arange(1, count + 1, device=rows.device, dtype=rows.dtype) - count - 1
        return (rows * weights).sum(1) / (count * rows.sum(1))
