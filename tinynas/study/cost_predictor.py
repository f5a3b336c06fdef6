"""A predictor of measured costs: cheap to query, so that few archs are measured that do not fit.

Predicted costs decide which arch is measured next, never which arch fits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..arch.arch import Arch
from ..arch.cost import quick_cost
from ..arch.lowering import lower
from .nonnegative_fit import Floats, fit_coefficients, leave_one_out_errors


@dataclass(frozen=True, kw_only=True)
class CostPredictor:
    """Predicts costs that another source measures; can be used in its place, as `MeasuredCosts`.

    Every cost is a sum of counts, such as MACs and bytes of weights, with coefficients of at least 0.

    Attributes:
        coefficients: Coefficients of the counts, by name of the cost.
        errors: Predicted / measured - 1 of the fitted archs, each by a model that is fitted to the other archs; by name
            of the cost.
        factors: What predictions are multiplied by, by name of the cost; 1 for those that are missing.
        digest: Empty, as predicted costs are not kept.
    """

    coefficients: Mapping[str, Floats]
    errors: Mapping[str, Floats]
    factors: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def fit(cls, archs: Sequence[Arch], costs: Sequence[Mapping[str, float]]) -> "CostPredictor":
        """Fit a predictor to archs and their measured costs, which are larger than 0."""
        features = np.stack([_features(arch) for arch in archs])
        coefficients, errors = {}, {}
        for name in costs[0]:
            values = np.array([measured[name] for measured in costs])
            coefficients[name] = fit_coefficients(features, values)
            errors[name] = leave_one_out_errors(features, values) if len(archs) > 1 else np.zeros(1)
        return cls(coefficients=coefficients, errors=errors)

    def measure(self, arch: Arch) -> dict[str, float]:
        """Return the predicted costs by name."""
        features = _features(arch)
        costs = {}
        for name, coefficients in self.coefficients.items():
            costs[name] = self.factors.get(name, 1.0) * float(features @ coefficients)
        return costs

    def lower_bounds(self, arch: Arch) -> dict[str, float]:
        """Return costs by name that are smaller than the predicted ones by the largest error of the fit."""
        bounds = {}
        for name, predicted in self.measure(arch).items():
            bounds[name] = predicted / (1 + max(0.0, float(self.errors[name].max())))
        return bounds

    def corrected(self, arch: Arch, costs: Mapping[str, float]) -> "CostPredictor":
        """Return the predictor scaled to the measured costs of an arch, which predicts similar archs better."""
        factors = {}
        for name, predicted in self.measure(arch).items():
            factors[name] = self.factors.get(name, 1.0) * costs[name] / predicted
        return replace(self, factors=factors)


def _features(arch: Arch) -> Floats:
    """Return the counts that time, memory and file size grow with, and 1 for a constant."""
    counted, operators = quick_cost(arch), lower(arch).operators
    depthwise_macs, num_values = 0, 0
    for operator in operators:
        num_values += operator.output.size
        if operator.kind == "DEPTHWISE_CONV_2D":
            depthwise_macs += operator.executed_macs
    counts = [1, counted.macs, counted.flash, counted.peak_sram, len(operators), depthwise_macs, num_values]
    return np.array(counts, float)
