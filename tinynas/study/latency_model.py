"""Latency models: the times of layers, fitted to measured times of whole networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..arch.arch import Arch
from ..arch.layers import Layer, layers_of
from ..arch.operators import KINDS
from ..utils.errors import InputError
from .nonnegative_fit import Floats, fit_coefficients, leave_one_out_errors

FEATURES = ("layer", "mac", "byte")  # what times are proportional to: layers, their MACs, the bytes that they move


@dataclass(frozen=True, kw_only=True)
class LatencyModel:
    """Times of layers that are linear in their MACs and in the bytes that they move.

    Attributes:
        coefficients: The microseconds of each of FEATURES by kind of layer, at least 0; of the kinds in the networks.
    """

    coefficients: Mapping[str, tuple[float, ...]]

    def microseconds(self, layer: Layer) -> float:
        """Return the time of a layer. Raises InputError if the model has no layers of its kind."""
        if layer.kind not in self.coefficients:
            raise InputError(
                f"no measured network has a layer of kind {layer.kind!r}; measure networks that have, such as of the "
                "same space"
            )
        return float(np.dot(self.coefficients[layer.kind], _layer_features(layer)))


@dataclass(frozen=True, kw_only=True)
class LatencyFit:
    """A latency model and its error.

    Attributes:
        model: Fitted to all networks.
        errors: Of each network, in percent of its measured time, by a model fitted to the other networks.
    """

    model: LatencyModel
    errors: Sequence[float]


def fit_latency(archs: Sequence[Arch], times: Sequence[float]) -> LatencyFit:
    """Fit a model to the times of networks, in microseconds: non-negative least squares of the relative errors.

    Raises:
        InputError: There are no more networks than coefficients.
    """
    features, measured = np.stack([_features(arch) for arch in archs]), np.array(times)
    needed = np.count_nonzero(features.any(0)) + 1  # so that all but one are enough as well
    if len(archs) < needed:
        raise InputError(
            f"{len(archs)} measured networks are too few to fit the {needed - 1} coefficients of their kinds of "
            f"layers; measure at least {needed} different ones"
        )
    errors = 100 * leave_one_out_errors(features, measured)
    return LatencyFit(model=_model(features, fit_coefficients(features, measured)), errors=errors.tolist())


def _model(features: Floats, coefficients: Floats) -> LatencyModel:
    """Return the model of the coefficients, without the kinds of layers that no network has."""
    numbers = features.max(0).reshape(len(KINDS), -1)[:, 0]  # of layers
    by_kind = {}
    for kind, number, row in zip(KINDS, numbers, coefficients.reshape(len(KINDS), -1), strict=True):
        if number:
            by_kind[kind] = tuple(row.tolist())
    return LatencyModel(coefficients=by_kind)


def _features(arch: Arch) -> Floats:
    """Return the sums of the features over the layers of every kind, as a vector."""
    sums = np.zeros((len(KINDS), len(FEATURES)))
    for layer in layers_of(arch):
        sums[KINDS.index(layer.kind)] += _layer_features(layer)
    return sums.ravel()


def _layer_features(layer: Layer) -> tuple[int, int, int]:
    return 1, layer.macs, layer.bytes_moved
