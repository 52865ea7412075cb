"""The 4-parameter logistic that maps predictions to MOS before a linear correlation or RMSE.

Only the fits import scipy: what runs an exported network has numpy alone.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from distill.columns import paired


@dataclass(frozen=True)
class Logistic4:
    """A monotone increasing map from predictions to MOS.

    beta2 + (beta1 - beta2) / (1 + exp(-(x - beta3) / beta4)) with beta1 > beta2 and beta4 > 0, or
    the line intercept + slope * x where ``fallback`` says why the logistic could not be fitted.

    Source: what SimpleVQA, MinimalisticVQA, RQ-VQA and E-VQA fit before they report PLCC.
    """

    beta1: float = 0.0
    beta2: float = 0.0
    beta3: float = 0.0
    beta4: float = 1.0
    slope: float = 0.0
    intercept: float = 0.0
    fallback: str = ""

    def __call__(self, x: Any) -> np.ndarray:
        """Map predictions of any shape."""
        x = np.asarray(x, dtype=np.float64)
        if self.fallback:
            return self.intercept + self.slope * x
        half = (x - self.beta3) / (2 * self.beta4)  # the logistic of 2z is (1 + tanh z) / 2
        return self.beta2 + (self.beta1 - self.beta2) * (0.5 + 0.5 * np.tanh(half))

    def to_dict(self) -> dict[str, float | str]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Logistic4":
        """Read what ``to_dict`` wrote.

        Raises:
            ValueError: a name is missing or unknown, a number is not finite, or beta4 not positive.
        """
        if set(values) != set(asdict(cls())):
            raise ValueError(f"Logistic4 needs {sorted(asdict(cls()))}, got {sorted(values)}")
        numbers = {name: float(value) for name, value in values.items() if name != "fallback"}
        if not np.isfinite(list(numbers.values())).all() or numbers["beta4"] <= 0:
            raise ValueError(f"Logistic4 needs finite numbers and beta4 > 0, got {numbers}")
        return cls(**numbers, fallback=str(values["fallback"]))


def calibrate(pred: Any, mos: Any) -> Logistic4:
    """The map that a bundle ships: it will see other videos than these few.

    A logistic on few noisy labels becomes a step, which gives most new videos one of two scores:
    on 5 videos 130 of 200 simulated fits did. So fewer than 30 videos get a line, and a step may
    not be narrower than 0.3 standard deviations of the predictions.

    Args, Raises: as ``fit_logistic4``.
    """
    x, y = paired(pred, mos)
    if len(x) < 30:
        return _line(x, y, f"{len(x)} videos; a logistic that holds for others needs 30")
    return fit_logistic4(x, y, min_width=0.3)


def fit_logistic4(
    pred: Any, mos: Any, min_width: float = 1e-3, near: Logistic4 | None = None
) -> Logistic4:
    """Fit the 4-parameter logistic by least squares; always returns, in bounded time.

    Args:
        pred: (N,) predictions, any scale.
        mos: (N,) labels.
        min_width: least beta4, in standard deviations of the predictions.
        near: a fit of nearly the same rows, from which alone it then starts; None, or one that
            is a line, takes four starts.

    Returns:
        The fit, or a least-squares line whose ``fallback`` gives the reason: fewer than 5 distinct
        predictions, constant labels, labels that do not rise with the predictions, or no start
        that did as well as the line.

    Raises:
        ValueError: the data cannot be used, see ``paired``.

    Differs: from one unbounded ``curve_fit`` with maxfev 1e8, which can hang. Predictions and
        labels are standardised and four starts have 200 evaluations each. The map always rises, a
        line by at least 1e-3 standard deviations of the labels per one of the predictions, so
        that a correlation after the fit still shows reversed predictions.
    """
    from scipy.optimize import least_squares
    from scipy.special import expit

    x, y = paired(pred, mos)
    centre, spread, level, height = x.mean(), x.std(), y.mean(), y.std()
    if len(np.unique(x)) < 5:
        return _line(x, y, f"{len(np.unique(x))} distinct predictions, the logistic needs 5")
    if np.ptp(y) == 0:
        return _line(x, y, "the labels are constant")
    u, v = (x - centre) / spread, (y - level) / height

    def residual(beta: np.ndarray) -> np.ndarray:
        return beta[0] + beta[1] * expit((u - beta[2]) / beta[3]) - v

    def jacobian(beta: np.ndarray) -> np.ndarray:
        z = (u - beta[2]) / beta[3]
        s = expit(z)
        bend = -beta[1] * s * (1 - s) / beta[3]
        return np.stack([np.ones_like(s), s, bend, bend * z], axis=1)

    # Lowest value, rise, centre, width. The last start is nearly a line.
    bounds = ([-100, 1e-3, -100, min_width], [100, 200, 100, 50])
    if near is not None and not near.fallback:
        lowest, rise = (near.beta2 - level) / height, (near.beta1 - near.beta2) / height
        start = [lowest, rise, (near.beta3 - centre) / spread, near.beta4 / spread]
        starts = [np.clip(start, np.add(bounds[0], 1e-6), np.subtract(bounds[1], 1e-6))]
    else:
        rise = max(float(np.ptp(v)), 1e-2)
        widths = ((0, 0.5), (np.median(u), 1.0), (0, max(0.1, 2 * min_width)))
        starts = [np.array([v.min(), rise, c, w]) for c, w in widths]
        starts.append(np.array([-10.0, 20.0, 0.0, 5.0]))
    best, least = None, np.inf
    for start in starts:
        try:
            found = least_squares(residual, start, jacobian, bounds, max_nfev=200)
        except (ValueError, np.linalg.LinAlgError):
            continue
        if found.cost < least:
            best, least = found.x, found.cost
    line = _line(x, y, "no start did as well as a line")
    if best is None or least > 0.5 * np.sum((line(x) - y) ** 2) / height**2 * 1.01:
        return line
    fit = Logistic4(
        beta1=float(level + height * (best[0] + best[1])),
        beta2=float(level + height * best[0]),
        beta3=float(centre + spread * best[2]),
        beta4=float(spread * best[3]),
    )
    if np.ptp(fit(x)) < 1e-3 * height:
        return replace(line, fallback="the labels do not rise with the predictions")
    return fit


def _line(x: np.ndarray, y: np.ndarray, fallback: str) -> Logistic4:
    """Least-squares line; its slope is kept positive, as the logistic's is."""
    slope = 0.0
    if np.ptp(x) > 0:
        spread = x.std()
        best = np.mean((x - x.mean()) * (y - y.mean())) / spread**2
        slope = float(max(best, 1e-3 * y.std() / spread))
    return Logistic4(slope=slope, intercept=float(y.mean() - slope * x.mean()), fallback=fallback)
