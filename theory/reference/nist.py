"""The nonlinear regression problems of NIST's Statistical Reference Datasets, fitted as laws of one's own.

Source of data and certified values (11 digits): NIST/ITL StRD, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml,
a work of the United States government in the public domain; stored as `theory/published/nist_strd*.csv`. Parameters in
which a model is linear are solved exactly and the others are searched between the bounds below, which hold both
of NIST's starting points; the certified parameters follow from both.
"""

import csv
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from scipy import stats

from theory.data.design import Design
from theory.fit.fit import fit_law
from theory.fit.result import FitResult
from theory.laws.parameters import Parameter
from theory.laws.user_law import user_law
from theory.reference.digits import Reached, digits
from theory.types import FloatArray
from theory.uncertainty.intervals import delta
from theory.uncertainty.quantities import Draws, Quantity

Columns = Callable[..., Sequence[FloatArray | float]]
"""From x (and x2) and the searched parameters to one column for each coefficient."""

Certified = Callable[..., Sequence[FloatArray]]
"""From searched parameters and coefficients, in order, to the certified parameters b1, b2, ..."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A problem's model: linear coefficients times columns, or the response itself."""

    searched: tuple[tuple[str, float, float], ...]
    """Name and bounds."""
    columns: Columns
    """The columns, or (without coefficients) the response."""
    coefficients: int
    """Number of linear coefficients."""
    certified: Certified
    """The certified parameters."""
    log_response: bool = False
    """Whether the logarithm of the response is fitted."""


def _gauss(x: FloatArray, b2: float, b4: float, b5: float, b7: float, b8: float) -> list[FloatArray]:
    return [np.exp(-b2 * x), np.exp(-(((x - b4) / b5) ** 2)), np.exp(-(((x - b7) / b8) ** 2))]


def _of_gauss(*values: FloatArray) -> Sequence[FloatArray]:
    b2, b4, b5, b7, b8, b1, b3, b6 = values
    return b1, b2, b3, b4, b5, b6, b7, b8


def _cubic(x: FloatArray, b5: float, b6: float, b7: float) -> list[FloatArray]:
    # By Horner's rule, which rounds less than a sum of powers.
    below = 1 + x * (b5 + x * (b6 + x * b7))
    return [x**power / below for power in range(4)]


def _of_cubic(*values: FloatArray) -> Sequence[FloatArray]:
    b5, b6, b7, b1, b2, b3, b4 = values
    return b1, b2, b3, b4, b5, b6, b7


def _enso(x: FloatArray, b4: float, b7: float) -> list[FloatArray]:
    # The yearly cycle of 12 months belongs to the model; the two longer ones are searched.
    turns = [2 * np.pi * x / period for period in (12.0, b4, b7)]
    return [np.ones_like(x), *(part(turn) for turn in turns for part in (np.cos, np.sin))]


# The bounds part the three rates: otherwise the terms could change places, and each fit would have six equal optima.
_LANCZOS = Model(
    searched=(("b2", 0.1, 2.0), ("b4", 2.0, 4.0), ("b6", 4.0, 8.0)),
    columns=lambda x, b2, b4, b6: [np.exp(-b2 * x), np.exp(-b4 * x), np.exp(-b6 * x)],
    coefficients=3,
    certified=lambda b2, b4, b6, b1, b3, b5: (b1, b2, b3, b4, b5, b6),
)
_CHWIRUT = Model(
    # The model exp(-b1 x) / (b2 + b3 x) is linear in 1 / b2 once b3 / b2 is searched instead of b3.
    searched=(("b1", 0.05, 0.5), ("ratio", 0.2, 20.0)),
    columns=lambda x, b1, ratio: [np.exp(-b1 * x) / (1 + ratio * x)],
    coefficients=1,
    certified=lambda b1, ratio, c: (b1, 1 / c, ratio / c),
)


# The bounds of the two peaks' places do not overlap, so that the peaks cannot change places.
def _peaks(*bounds: tuple[float, float]) -> Model:
    names = ("b2", "b4", "b5", "b7", "b8")
    searched = tuple((name, low, high) for name, (low, high) in zip(names, bounds, strict=True))
    return Model(searched=searched, columns=_gauss, coefficients=3, certified=_of_gauss)


MODELS: dict[str, Model] = {
    "Misra1a": Model(
        searched=(("b2", 1e-5, 1e-2),),
        # expm1 keeps the digits of 1 - exp(-b2 x) where b2 x is small.
        columns=lambda x, b2: [-np.expm1(-b2 * x)],
        coefficients=1,
        certified=lambda b2, b1: (b1, b2),
    ),
    "Misra1b": Model(
        searched=(("b2", 1e-5, 1e-2),),
        columns=lambda x, b2: [1 - (1 + b2 * x / 2) ** -2],
        coefficients=1,
        certified=lambda b2, b1: (b1, b2),
    ),
    "Misra1c": Model(
        searched=(("b2", 1e-5, 1e-2),),
        columns=lambda x, b2: [1 - (1 + 2 * b2 * x) ** -0.5],
        coefficients=1,
        certified=lambda b2, b1: (b1, b2),
    ),
    "Misra1d": Model(
        searched=(("b2", 1e-5, 1e-2),),
        columns=lambda x, b2: [b2 * x / (1 + b2 * x)],
        coefficients=1,
        certified=lambda b2, b1: (b1, b2),
    ),
    "Chwirut1": _CHWIRUT,
    "Chwirut2": _CHWIRUT,
    "DanWood": Model(
        searched=(("b2", 1.0, 10.0),),
        columns=lambda x, b2: [x**b2],
        coefficients=1,
        certified=lambda b2, b1: (b1, b2),
    ),
    "Lanczos1": _LANCZOS,
    "Lanczos2": _LANCZOS,
    "Lanczos3": _LANCZOS,
    "Gauss1": _peaks((1e-3, 0.1), (40, 90), (5, 50), (150, 200), (5, 50)),
    "Gauss2": _peaks((1e-3, 0.1), (90, 125), (5, 50), (135, 170), (5, 50)),
    "Gauss3": _peaks((1e-3, 0.1), (90, 130), (5, 50), (130, 170), (5, 50)),
    "Kirby2": Model(
        searched=(("b4", -0.1, 0.1), ("b5", 1e-7, 1e-3)),
        columns=lambda x, b4, b5: [x**power / (1 + x * (b4 + x * b5)) for power in range(3)],
        coefficients=3,
        certified=lambda b4, b5, b1, b2, b3: (b1, b2, b3, b4, b5),
    ),
    "Hahn1": Model(
        searched=(("b5", -0.1, 0.1), ("b6", 1e-6, 1e-2), ("b7", -1e-5, 1e-5)),
        columns=_cubic,
        coefficients=4,
        certified=_of_cubic,
    ),
    "Thurber": Model(
        searched=(("b5", 0.1, 2.0), ("b6", 0.05, 1.0), ("b7", 1e-3, 0.5)),
        columns=_cubic,
        coefficients=4,
        certified=_of_cubic,
    ),
    "Nelson": Model(
        searched=(("b3", -0.2, 0.0),),
        # NIST's model is one of ln y.
        columns=lambda x1, x2, b3: [np.ones_like(x1), -x1 * np.exp(-b3 * x2)],
        coefficients=2,
        certified=lambda b3, b1, b2: (b1, b2, b3),
        log_response=True,
    ),
    "MGH17": Model(
        # Parted at 0.017 for the same reason as the rates of the Lanczos problems.
        searched=(("b4", 1e-3, 0.017), ("b5", 0.017, 0.1)),
        columns=lambda x, b4, b5: [np.ones_like(x), np.exp(-b4 * x), np.exp(-b5 * x)],
        coefficients=3,
        certified=lambda b4, b5, b1, b2, b3: (b1, b2, b3, b4, b5),
    ),
    "Roszman1": Model(
        searched=(("b1", 0.0, 0.5), ("b2", -1e-4, 1e-4), ("b3", 100.0, 5e3), ("b4", -500.0, 0.0)),
        # The arc tangent has no factor of its own, which columns cannot express, so b1 and b2 are searched like the
        # others.
        columns=lambda x, b1, b2, b3, b4: b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi,
        coefficients=0,
        certified=lambda b1, b2, b3, b4: (b1, b2, b3, b4),
    ),
    "ENSO": Model(
        searched=(("b4", 35.0, 55.0), ("b7", 21.0, 32.0)),
        columns=_enso,
        coefficients=7,
        certified=lambda b4, b7, b1, b2, b3, b5, b6, b8, b9: (b1, b2, b3, b4, b5, b6, b7, b8, b9),
    ),
    "MGH09": Model(
        # b1 (x^2 + x b2) / (x^2 + x b3 + b4) is linear in b1 and in the product b1 b2.
        searched=(("b3", 0.01, 100.0), ("b4", 0.01, 100.0)),
        columns=lambda x, b3, b4: [x**2 / (x**2 + x * b3 + b4), x / (x**2 + x * b3 + b4)],
        coefficients=2,
        certified=lambda b3, b4, b1, product: (b1, product / b1, b3, b4),
    ),
    "BoxBOD": Model(
        searched=(("b2", 0.05, 5.0),),
        columns=lambda x, b2: [-np.expm1(-b2 * x)],
        coefficients=1,
        certified=lambda b2, b1: (b1, b2),
    ),
    "Rat42": Model(
        searched=(("b2", 0.1, 10.0), ("b3", 1e-3, 1.0)),
        columns=lambda x, b2, b3: [1 / (1 + np.exp(b2 - b3 * x))],
        coefficients=1,
        certified=lambda b2, b3, b1: (b1, b2, b3),
    ),
    "Rat43": Model(
        searched=(("b2", 0.5, 20.0), ("b3", 0.05, 5.0), ("b4", 0.1, 10.0)),
        columns=lambda x, b2, b3, b4: [(1 + np.exp(b2 - b3 * x)) ** (-1 / b4)],
        coefficients=1,
        certified=lambda b2, b3, b4, b1: (b1, b2, b3, b4),
    ),
    "MGH10": Model(
        searched=(("b2", 1e3, 1e6), ("b3", 50.0, 5e4)),
        columns=lambda x, b2, b3: [np.exp(b2 / (x + b3))],
        coefficients=1,
        certified=lambda b2, b3, b1: (b1, b2, b3),
    ),
    "Eckerle4": Model(
        # The height of the peak is b1 / b2, and that is what the model is linear in.
        searched=(("b2", 0.5, 20.0), ("b3", 400.0, 500.0)),
        columns=lambda x, b2, b3: [np.exp(-0.5 * ((x - b3) / b2) ** 2)],
        coefficients=1,
        certified=lambda b2, b3, c: (c * b2, b2, b3),
    ),
    "Bennett5": Model(
        searched=(("b2", 5.0, 500.0), ("b3", 0.1, 5.0)),
        columns=lambda x, b2, b3: [(b2 + x) ** (-1 / b3)],
        coefficients=1,
        certified=lambda b2, b3, b1: (b1, b2, b3),
    ),
}

FAST = ("Misra1a", "DanWood", "Chwirut2", "MGH09", "BoxBOD", "Rat43", "Eckerle4")
"""Problems of every difficulty that take little time."""

LEAST_DIGITS = 5.0
"""Digits of parameters and sums of squares below which a fit is called wrong (NIST asks for 4)."""

LEAST_SD_DIGITS = 4.0
"""Digits of standard deviations, which come from finite differences."""

EXACT = "Lanczos1"
"""Its response is a sum of exponentials to 14 digits: double precision does not resolve the residuals."""


def read(name: str) -> list[dict[str, str]]:
    """Read a stored table."""
    with files("theory").joinpath("published", name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def tables() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the data and the certified values, one row each."""
    return read("nist_strd.csv"), read("nist_strd_certified.csv")


def fit_problem(name: str) -> FitResult:
    """Fit one problem."""
    model = MODELS[name]
    rows = [row for row in tables()[0] if row["problem"] == name]
    response = np.array([float(row["y"]) for row in rows])
    sizes = [np.array([float(row[key]) for row in rows]) for key in ("x1", "x2") if rows[0][key]]
    # The predictors may have any sign, unlike sizes of networks, so they travel as covariates.
    # Sizes must be there and positive; these models do not use them.
    design = Design(
        n_rec=np.ones(len(rows)),
        k_e=np.ones(len(rows)),
        covariates={f"x{k}": x for k, x in enumerate(sizes)} | {"row": np.arange(len(rows))},
    )

    def law(design: Design, **searched: float) -> Sequence[FloatArray | float]:
        return model.columns(*(design.covariates[f"x{k}"] for k in range(len(sizes))), **searched)

    names = [entry[0] for entry in model.searched]
    # `user_law` reads the names of the parameters off the function, which here takes them as a dictionary.
    law.__signature__ = _signature(names)  # type: ignore[attr-defined]
    parameters = [Parameter(name=key, lower=low, upper=high, log=low > 0) for key, low, high in model.searched]
    coefficients = [f"c{k}" for k in range(model.coefficients)]
    named_law = user_law(parameters=parameters, coefficients=coefficients, name=name)(law)
    # The smallest problems have 6 rows for 2 parameters, fewer than a sweep must have.
    return fit_law(named_law, design, np.log(response) if model.log_response else response, spare=1)


def _signature(names: list[str]) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, kind) for name in ("design", *names)])


def compare(name: str) -> list[Reached]:
    """Compare parameters, their standard deviations and the sum of squares of one problem with the certified ones."""
    fit, model = fit_problem(name), MODELS[name]
    rows = [row for row in tables()[1] if row["problem"] == name]
    certified = [row for row in rows if row["name"] != "rss"]
    rss = float(next(row["certified"] for row in rows if row["name"] == "rss"))

    def parameter(k: int) -> Quantity:
        def evaluate(draws: Draws) -> FloatArray:
            searched = [draws.parameter(entry[0]) for entry in model.searched]
            linear = [draws.coefficients[:, 0, j] for j in range(model.coefficients)]
            return np.asarray(model.certified(*searched, *linear)[k], dtype=np.float64)

        return Quantity(name=f"b{k + 1}", evaluate=evaluate, log=False)

    intervals = delta(fit, [parameter(k) for k in range(len(certified))])
    # Intervals come with t quantiles; divided by the quantile they are the standard errors that NIST certifies.
    quantile = float(stats.t.ppf(0.975, fit.n - fit.p))
    # An open interval has no standard error, and nan counts as no digits.
    spread = [np.nan if one.high is None else (one.high - one.estimate) / quantile for one in intervals]
    reached = [
        Reached(
            name=name,
            number="parameters",
            digits=digits([one.estimate for one in intervals], [float(row["certified"]) for row in certified]),
            least=LEAST_DIGITS,
        )
    ]
    if name != EXACT:
        reached += [
            Reached(
                name=name,
                number="standard deviations",
                digits=digits(spread, [float(row["sd"]) for row in certified]),
                least=LEAST_SD_DIGITS,
            ),
            Reached(name=name, number="sum of squares", digits=digits(fit.rss, rss), least=LEAST_DIGITS),
        ]
    return reached
