"""What the data determine and what they do not."""

from dataclasses import dataclass

import numpy as np

from theory.fit.restore import restore
from theory.fit.result import FitResult
from theory.fit.statuses import FEW_LEVELS
from theory.types import FloatArray
from theory.uncertainty.profile import Profile, profile


@dataclass(frozen=True, kw_only=True, eq=False)
class Identifiability:
    """Profiles, singular values and design counts, with a verdict."""

    profiles: dict[str, Profile]
    """Profile of each searched parameter."""
    identified: dict[str, bool]
    """Whether its profile closes within the bounds."""
    singular_values: FloatArray
    """Of the Jacobian in search coordinates in noise units, coefficients eliminated, falling: 1 / value is the error of
    that direction."""
    weakest: dict[str, float]
    """The least determined direction: share of each parameter in it (search coordinates, unit length)."""
    levels: dict[str, int]
    """Distinct budgets, n_rec, k_e and k_c in the data."""
    sentences: tuple[str, ...]
    """What follows, and what data would help."""

    @property
    def few_levels(self) -> str | None:
        """Which sizes have too few distinct values, as a sentence; None where all have enough."""
        # k_c often has a single level on purpose, so that its few levels are no fault of the design.
        few = [f"{name} ({count})" for name, count in self.levels.items() if count < FEW_LEVELS and name != "k_c"]
        return f"Fewer than {FEW_LEVELS} levels: {', '.join(few)}." if few else None


def identifiability(fit: FitResult, *, level: float = 0.95, seed: int = 0) -> Identifiability:
    """Profile every searched parameter and say which are identified.

    Args:
        fit: A least-squares fit.
        level: Of the profiles.
        seed: Of their searches.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["test_bpc"])
    >>> found = identifiability(fit)
    >>> found.identified
    {'a': True, 'b': False}
    """
    restored = restore(fit)
    profiles = {label: profile(fit, label, level=level, seed=seed) for label in fit.free}
    # A profile follows the curved valley of the fit, which a standard error, a straight line, does not see. So profiles
    # decide what is identified, and singular values only describe.
    identified = {label: one.closed for label, one in profiles.items()}
    # The floor keeps an exact fit, whose variance is 0, from dividing by it.
    jacobian = restored.problem.evaluate(restored.x[None]).jacobian[0] / np.sqrt(max(restored.variance, 1e-300))
    # In noise units, so that a singular value of 1 is a direction known to one unit of the search coordinates.
    singular = np.linalg.svd(jacobian, compute_uv=False) if fit.free else np.empty(0)
    weakest: dict[str, float] = {}
    if fit.free:
        # Singular values fall, so the last right vector of [rows, p] is the direction that moves the predictions least.
        direction = np.linalg.svd(jacobian.T, full_matrices=False)[2][-1]
        weakest = {label: float(share) for label, share in zip(fit.free, direction, strict=True)}
    levels = _levels(fit)
    return Identifiability(
        profiles=profiles,
        identified=identified,
        singular_values=singular,
        weakest=weakest,
        levels=levels,
        sentences=_sentences(fit, identified, profiles, levels),
    )


def _levels(fit: FitResult) -> dict[str, int]:
    design = fit.inputs.design
    levels = {
        "budget": np.unique(design.budgets).size,
        "n_rec": np.unique(design.n_rec).size,
        "k_e": np.unique(design.k_e).size,
    }
    if design.k_c is not None:
        levels["k_c"] = np.unique(design.k_c).size
    return levels


def _sentences(
    fit: FitResult, identified: dict[str, bool], profiles: dict[str, Profile], levels: dict[str, int]
) -> tuple[str, ...]:
    sentences = [profiles[label].sentence for label in fit.free]
    open_ones = [label for label, closed in identified.items() if not closed]
    # One budget explains whatever is left open, so single parameters are not listed beside it.
    if levels["budget"] == 1 and len(fit.free) > 1:
        sentences.append(
            "Parameters not identified by one budget: only the place and curvature of the optimum are. "
            "Cheapest cure: 7 runs over n_rec at one fixed d_m; better: two more budgets over a decade."
        )
    elif open_ones:
        sentences.append(
            f"Not identified: {', '.join(open_ones)}. "
            "Add budgets (over a decade or more) and a sweep of n_rec at a fixed d_m."
        )
    # k_c often has a single level on purpose, so that its few levels are no fault of the design.
    few = [f"{name} ({count})" for name, count in levels.items() if count < FEW_LEVELS and name != "k_c"]
    if few:
        sentences.append(f"Fewer than {FEW_LEVELS} levels: {', '.join(few)}.")
    return tuple(sentences)
