"""How often does each status fire on a right law, and on a wrong one: `python -m theory.simulations.statuses`.

Every warning that a fit can give is counted on sweeps simulated from the fitted law itself (false alarms), and on
sweeps in which what it warns of is so (power). Statuses that state a fact of the design (few_levels, few_budgets,
one_budget, no_replicates) or of the settings (prior_used, fixed) infer nothing, so they are not counted.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from theory.data.design import Design
from theory.fit.fit import fit_law
from theory.fit.result import FitResult
from theory.laws.base import Law
from theory.laws.registry import get_law
from theory.laws.user_law import user_law
from theory.simulations.worlds import N_REF, additive_floor, grid, max_floor, normal, separable
from theory.types import FloatArray

TABLE = Path(__file__).parent / "statuses.md"

ALLOWED = 0.05
"""Largest share of right laws on which a status may fire."""

INFERRED = (
    "floor_implausible",
    "lack_of_fit",
    "no_effect",
    "no_better_than_constant",
    "at_bound",
    "starts_disagree",
    "max_iterations",
    "duplicated_rows",
    "non_finite",
)
"""Warnings (and one note) that are inferred from data or search."""

# Eight sizes by factors of two with three seeds each: a small sweep of one axis.
SIZES = np.repeat(2.0 ** np.arange(4, 12), 3)
LINE = Design(n_rec=SIZES, k_e=np.ones(SIZES.size))
NOISE = 0.05

Make = Callable[[np.random.Generator], FitResult]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of sweep and the law that is fitted to it."""

    sentence: str
    """What is simulated and fitted."""
    make: Make
    """One simulated sweep, fitted."""
    warns: str | None = None
    """The status that should fire; None: the law is right and none should."""


def _line(
    mean: FloatArray, *, sd: float = NOISE, law: str | Law = "power_law", starts: int = 16, loss: str = "least_squares"
) -> Make:
    """Sweeps of 8 sizes x 3 seeds."""

    def make(rng: np.random.Generator) -> FitResult:
        return fit_law(law, LINE, mean + sd * rng.standard_normal(mean.size), starts=starts, loss=loss)

    return make


def _grid(mean: Callable[[Design], FloatArray], law: str | Law, **settings: str) -> Make:
    """Sweeps of 3 budgets x 9 d_m x 3 seeds."""
    design = grid()
    # The mean is the same for all sweeps of a case, only the noise is drawn anew.
    expected = mean(design)

    def make(rng: np.random.Generator) -> FitResult:
        metric = expected + normal(rng, design, 1)[0]
        return fit_law(law, design, metric, starts=16, loss=settings.get("loss", "least_squares"))

    return make


def _accuracy(items: int, copies: bool) -> Make:
    """Accuracies of so many test items, of which one row may be a copy of another one."""

    def make(rng: np.random.Generator) -> FitResult:
        # An accuracy is a whole number of items, which is what makes rows repeat.
        metric = np.round(items * (0.9 - 2 / SIZES + 0.01 * rng.standard_normal(SIZES.size))) / items
        if copies:
            # The second seed of every size becomes a copy of its first.
            metric[1::3] = metric[::3]
        return fit_law("power_law", LINE, metric, direction="max", starts=16)

    return make


def _copied(rng: np.random.Generator) -> FitResult:
    metric = 1 + 8 * SIZES**-0.5 + NOISE * rng.standard_normal(SIZES.size)
    # Rows 3 and 4 are seeds of one size, so the copy looks like a run that was entered twice.
    metric[4] = metric[3]
    return fit_law("power_law", LINE, metric, starts=16)


@user_law(parameters={"frequency": (0.5, 38.0)}, coefficients=("E", "A", "B"))
def _wave(design: Design, frequency: float) -> tuple[float, FloatArray, FloatArray]:
    """A wave along n_rec: each of some hundred frequencies is an optimum of its own."""
    x = frequency * design.n_rec / 100
    # Both, so that the phase is solved exactly and only the frequency has many optima.
    return 1.0, np.sin(x), np.cos(x)


@user_law(parameters={"exponent": (0.1, 3.0)}, coefficients=("E", "A"))
def _rough(design: Design, exponent: float) -> tuple[float, FloatArray]:
    """A power law whose exponent jitters with a period far below any step."""
    # The jitter is small beside the noise, but its slope is not, so the polish finds no smooth optimum.
    return 1.0, design.n_rec ** -(exponent + 1e-3 * np.sin(1e5 * exponent))


def cases() -> list[Case]:
    """List what is simulated."""
    power = 1 + 8 * SIZES**-0.5
    # A plateau and then a drop: a power law that must be steep puts its floor above the last mean.
    flat_then_down = 2 + 8 * SIZES**-1.5 - 0.4 * (SIZES > 1500)
    # The exponent is beyond the bound of 6 that power laws have.
    steep = 1 + 1e9 * SIZES**-8.0
    additive = get_law("effective_information", floor="additive")
    growing = additive_floor(alpha=lambda design: 1 + 0.03 * np.log(design.n_rec / N_REF))
    return [
        Case(sentence="power law, slow (exponent 0.5)", make=_line(power)),
        Case(sentence="power law at its floor (exponent 1, noise 0.05)", make=_line(1 + 8 / SIZES)),
        Case(sentence="power law, Huber", make=_line(power, loss="huber")),
        Case(sentence="power law, Tukey", make=_line(power, loss="tukey")),
        Case(sentence="accuracy of 200 items, power law", make=_accuracy(200, copies=False)),
        Case(sentence="separable power law", make=_grid(separable, "separable_power_law")),
        Case(sentence="effective information, additive floor", make=_grid(additive_floor(), additive)),
        Case(sentence="effective information, max floor", make=_grid(max_floor(), "effective_information")),
        Case(
            sentence="effective information, additive floor, Box-Cox link",
            make=_grid(additive_floor(), get_law("effective_information", floor="additive", link="boxcox")),
        ),
        Case(
            sentence="effective information, additive floor, alpha(n_rec) rising by 3 % per e-fold",
            make=_grid(growing, get_law("effective_information", floor="additive", alpha_of_n=True)),
        ),
        Case(
            sentence="flat, then a drop of 0.4 at the largest size",
            make=_line(flat_then_down, law=_bounded_power(), sd=0.02),
            warns="floor_implausible",
        ),
        Case(
            sentence="a quadratic in ln n_rec that stays positive",
            make=_line(3 - 0.05 * np.log(SIZES) ** 2, sd=0.01),
            warns="floor_implausible",
        ),
        Case(
            sentence="power law with a wave of 3 seed sd",
            make=_line(power + 0.15 * np.sin(1.7 * np.log(SIZES))),
            warns="lack_of_fit",
        ),
        Case(
            sentence="separable law with an interaction of 1 seed sd",
            make=_grid(lambda design: separable(design, 0.01), "separable_power_law"),
            warns="lack_of_fit",
        ),
        Case(
            sentence="effective information with alpha(n_rec), 3 % per e-fold",
            make=_grid(growing, additive),
            warns="lack_of_fit",
        ),
        Case(sentence="a metric that rises with size", make=_line(1 + SIZES**0.2), warns="no_effect"),
        Case(sentence="a constant, power law", make=_line(np.ones(SIZES.size)), warns="no_better_than_constant"),
        Case(
            sentence="a constant, separable power law",
            make=_grid(lambda design: np.full(len(design), 1.7), "separable_power_law"),
            warns="no_better_than_constant",
        ),
        Case(sentence="exponent 8 where 6 is the bound", make=_line(steep, sd=1e-3), warns="at_bound"),
        Case(
            sentence="a wave of unknown frequency, 8 starts",
            make=_line(_waves(), law=_wave, starts=8, sd=0.01),
            warns="starts_disagree",
        ),
        Case(sentence="a law with a rough parameter", make=_line(power, law=_rough), warns="max_iterations"),
        Case(sentence="one row is a copy of another", make=_copied, warns="duplicated_rows"),
        Case(
            sentence="accuracy of 2,000 items, 8 rows are copies",
            make=_accuracy(2_000, copies=True),
            warns="duplicated_rows",
        ),
        Case(
            sentence="accuracy of 200 items, which repeats itself, 8 rows are copies",
            make=_accuracy(200, copies=True),
            warns="duplicated_rows",
        ),
    ]


def _waves() -> FloatArray:
    return np.asarray(1 + 0.3 * np.sin(11.3 * SIZES / 100))


def _bounded_power() -> Law:
    @user_law(parameters={"exponent": (1.2, 6.0)}, coefficients=("E", "A"))
    def steep_power(design: Design, exponent: float) -> tuple[float, FloatArray]:
        return 1.0, (design.n_rec / 100) ** -exponent

    return steep_power


def count(case: Case, sweeps: int, seed: int) -> Counter[str]:
    """Count the statuses of simulated sweeps, each once per sweep."""
    # One generator for all sweeps of a case, so that a case's numbers do not depend on which other cases ran.
    rng = np.random.default_rng(seed)
    fired: Counter[str] = Counter()
    for _ in range(sweeps):
        fired.update({status.code for status in case.make(rng).statuses})
    return fired


def table(counts: list[tuple[Case, Counter[str]]], sweeps: int, seed: int) -> str:
    """Write the counts as a Markdown page."""
    error = 100 * float(np.sqrt(ALLOWED * (1 - ALLOWED) / sweeps))
    lines = [
        "# False alarms and power of the statuses of a fit",
        "",
        f"Made by `python -m theory.simulations.statuses --sweeps {sweeps} --seed {seed}`: {sweeps} simulated sweeps "
        f"of each kind (Monte Carlo error of a rate of 5 %: {error:.1f} points). Allowed on right laws: 5 %.",
        "",
        "## Right laws: sweeps on which a status fired, %",
        "",
        "| simulated and fitted | " + " | ".join(INFERRED) + " |",
        "|---" * (len(INFERRED) + 1) + "|",
    ]
    for case, fired in counts:
        if case.warns is None:
            rates = " | ".join(f"{100 * fired[code] / sweeps:.0f}" for code in INFERRED)
            lines.append(f"| {case.sentence} | {rates} |")
    lines += ["", "## What is wrong, and how often its status says so", "", "| simulated | status | fired % |"]
    lines.append("|---|---|---|")
    for case, fired in counts:
        if case.warns is not None:
            lines.append(f"| {case.sentence} | {case.warns} | {100 * fired[case.warns] / sweeps:.0f} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Simulate and print the table; the exit code is 1 if a status fires too often on right laws."""
    parser = argparse.ArgumentParser(prog="python -m theory.simulations.statuses", description="Audit of statuses.")
    parser.add_argument("--sweeps", type=int, default=200, help="simulated sweeps of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} beside this module")
    options = parser.parse_args(arguments)
    counts = []
    for case in cases():
        counts.append((case, count(case, options.sweeps, options.seed)))
        print(f"{case.sentence}: done", file=sys.stderr)
    text = table(counts, options.sweeps, options.seed)
    print(text, end="")
    if options.write:
        TABLE.write_text(text, encoding="utf-8")
    # Two Monte Carlo errors are allowed, which the simulation itself cannot tell apart.
    limit = options.sweeps * ALLOWED + 2 * np.sqrt(options.sweeps * ALLOWED * (1 - ALLOWED))
    worst = max(fired[code] for case, fired in counts if case.warns is None for code in INFERRED)
    return 0 if worst <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
