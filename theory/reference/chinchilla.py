"""The public refit of Chinchilla's third approach, from the same 240 points with the same loss.

Source: Besiroglu, Erdil, Barnett and You (2024), "Chinchilla Scaling: A replication attempt", arXiv 2404.10102; the 245
points that they read off a figure of Hoffmann et al. (2022), in `theory/published/chinchilla_points.csv`, and their
result in github.com/epoch-research/analyzing-chinchilla (data/svg_extracted_data.csv, data_analysis.ipynb). They leave
out the 5 points of largest loss and minimise the sum of Huber's loss, bent at 1e-3, of

    ln loss - ln(E + A N^-alpha + B D^-beta),        D = FLOP / (6 N) tokens.
"""

import numpy as np
from scipy.special import logsumexp

from theory.data.design import Design
from theory.fit.compile import compile_fit
from theory.fit.result import FitInput
from theory.fit.robust import objective, reweight
from theory.fit.search import start_points
from theory.fit.solver import solve
from theory.laws.parameters import Parameter
from theory.laws.user_law import user_law
from theory.reference.digits import Reached, digits
from theory.reference.nist import read
from theory.types import FloatArray

LEFT_OUT = 5
"""Points of largest loss that the published refit leaves out."""

BEND = 1e-3
"""Where Huber's loss bends, in ln loss."""

OBJECTIVE = 0.0010182740346154362
"""Smallest sum of Huber's loss of the notebook's grid search."""

EXPONENTS = {"alpha": 0.34731, "beta": 0.36718}
"""Its exponents, to the digits on which its own searches agree."""

PUBLISHED = {"E": 1.81686, "alpha": 0.34781, "beta": 0.36585}
"""Values of the paper's table, from a search that ended a little earlier: standard errors 0.026, 0.015 and 0.021."""

ROUNDS, SETTLED = 40, 1e-9
"""Repetitions of the reweighting, and the move at which they end."""

_LAW = user_law(
    parameters=[
        Parameter(name="ln_A", lower=-5.0, upper=25.0, start=(3.0, 10.0), log=False),
        Parameter(name="ln_B", lower=-5.0, upper=25.0, start=(3.0, 10.0), log=False),
        Parameter(name="ln_E", lower=-1.0, upper=1.5, start=(0.0, 0.9), log=False),
        Parameter(name="alpha", lower=0.02, upper=2.0, start=(0.2, 0.6)),
        Parameter(name="beta", lower=0.02, upper=2.0, start=(0.2, 0.6)),
    ]
)


@_LAW
def log_loss(design: Design, ln_A: float, ln_B: float, ln_E: float, alpha: float, beta: float) -> FloatArray:
    """ln(E + A N^-alpha + B D^-beta); n_rec stands for the parameters N and k_e for the tokens D."""
    # As a sum of exponentials in logarithms, the form in which the notebook minimises it and which cannot overflow.
    terms = np.broadcast_arrays(ln_E, ln_A - alpha * np.log(design.n_rec), ln_B - beta * np.log(design.k_e))
    return np.asarray(logsumexp(np.stack(terms), axis=0))


def points() -> tuple[Design, FloatArray]:
    """Return the 240 points: sizes and ln loss."""
    rows = read("chinchilla_points.csv")
    size, flop, loss = (
        np.array([float(row[name]) for row in rows]) for name in ("model_size", "training_flop", "loss")
    )
    # Strictly below the fifth largest, which leaves exactly five out.
    fitted = loss < np.sort(loss)[-LEFT_OUT]
    return Design(n_rec=size[fitted], k_e=(flop / (6 * size))[fitted]), np.log(loss[fitted])


def refit(starts: int = 24) -> tuple[dict[str, float], float]:
    """Return the parameters of the smallest objective, and that objective.

    Args:
        starts: Searches.
    """
    design, metric = points()
    inputs = FitInput(design=design, metric=metric, loss="huber", starts=starts)
    compiled = compile_fit(log_loss.bind(design), inputs, merge=False)
    problem, bend = compiled.problem, BEND / compiled.scale
    ends = solve(problem, start_points(problem, inputs))
    best = ends.x[[int(np.argmin(ends.cost))]]
    for _ in range(ROUNDS):  # the loss is nearly the absolute value, for which reweighting is slow
        # The problem's residuals are scaled by the metric's spread, so the bend is too.
        again = reweight(problem, best, "huber", threshold=bend, coefficients=np.empty((1, 1, 0)))
        moved = float(np.abs(again.x - best).max())
        best = again.x
        if moved < SETTLED:
            break
    residual = problem.predict(best, np.empty((1, 1, 0))) - problem.metric
    values = {number.label: float(number.parameter.to_natural(best[0, k])) for k, number in enumerate(problem.free)}
    return values, float(objective(residual, np.array([BEND]), "huber")[0])


def compare() -> list[Reached]:
    """Compare the objective and the exponents with the notebook's, and with the paper's table in standard errors."""
    values, reached = refit()
    # The paper's table has E itself, the search its logarithm.
    values["E"] = float(np.exp(values["ln_E"]))
    name = "Chinchilla, 240 points"
    best = digits(max(reached, OBJECTIVE), OBJECTIVE)  # a smaller one than theirs is no error
    return [
        Reached(name=name, number="objective, at most the notebook's", digits=best, least=7.0),
        *(
            Reached(name=name, number=f"{key} of the notebook", digits=digits(values[key], value), least=4.0)
            for key, value in EXPONENTS.items()
        ),
        *(
            Reached(name=name, number=f"{key} of the paper", digits=digits(values[key], value), least=2.0)
            for key, value in PUBLISHED.items()
        ),
    ]
