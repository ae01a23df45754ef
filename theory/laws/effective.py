"""The effective-information law: the closed form, a noise law, a link. A reconstruction, see `theory.laws.information`.

    S       = u_ref n_ref^beta                                         first channel's snr where nu = 1
    snr     = S / nu(k_e)                                              theory.laws.noise
    I       = I(n_rec, snr, beta)                                      theory.laws.information
    beta    = beta (k_c/k_c_ref)^-gamma                                with connectivity=True
    alpha   = alpha (n_rec/n_ref)^delta                                with alpha_of_n=True
    metric  = a - b g(I) + D (tokens/tokens_ref)^-d                    with tokens=True
    metric  = a - b g(I),  b >= 0 for a metric to be minimised         theory.laws.links

u_ref, the last channel's signal-to-noise ratio at (n_ref, k_ref), is searched instead of S = snr_ref: (n_rec = 1,
k_ref) lies outside every data set, and S would follow beta along a ridge. k_ref, n_ref and k_c_ref are fixed by `bind`
(medians of the data) and do not change the fit.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from theory.data.design import Design
from theory.errors import TheoryError, unknown
from theory.laws.base import REFERENCE, Law, Terms, Theta
from theory.laws.information import Information, information
from theory.laws.links import LINKS, Linked, apply_link
from theory.laws.noise import Noise, check_form, decay_parameters, floor_noise, noise
from theory.laws.parameters import Coefficient, Parameter, inner_points
from theory.types import FloatArray

_REFERENCES = ("n_ref", "k_ref", "k_c_ref", "tokens_ref")


class _State(NamedTuple):
    noise: Noise
    beta: FloatArray
    information: Information


@dataclass(frozen=True, kw_only=True)
class EffectiveInformation(Law):
    """metric = a - b g(I_rep(n_rec, k_e)).

    >>> law = EffectiveInformation(floor="additive", link="boxcox", k_ref=1e3, n_ref=100.0, k_range=(1e2, 1e5))
    >>> [parameter.name for parameter in law.parameters]
    ['u_ref', 'alpha', 'beta', 'k_floor', 'lam']
    """

    decay: str = "power"
    """Noise decay: power, exponential or stretched."""
    floor: str = "max"
    """Noise floor: none, max (the paper's word) or additive."""
    link: str = "affine"
    """affine, log or boxcox."""
    connectivity: bool = False
    """Whether beta depends on k_c."""
    alpha_of_n: bool = False
    """Whether alpha depends on n_rec, for the decay "power"; the noise floor stays that of n_ref."""
    tokens: bool = False
    """Whether the metric falls with the tokens trained on, by a power beside what the information gives."""
    k_ref: float | None = None
    """Reference complexity; `bind` takes the median."""
    n_ref: float | None = None
    """Reference neurons; `bind` takes the geometric mean of the range."""
    k_c_ref: float | None = None
    """Reference connectivity; `bind` takes the median."""
    tokens_ref: float | None = None
    """Reference of the tokens; `bind` takes the median. A design that says nothing of tokens is at it."""
    k_range: tuple[float, float] | None = None
    """Smallest and largest k_e of the data; bounds of k_floor and k_decay."""

    name = "effective_information"

    def __post_init__(self) -> None:
        check_form(self.decay, self.floor)
        if self.link not in LINKS:
            raise unknown("link", self.link, LINKS)
        if self.alpha_of_n and self.decay != "power":
            raise TheoryError(f"alpha_of_n: needs decay power, got {self.decay!r}, whose exponent is no single number")

    @property
    def options(self) -> dict[str, Any]:
        """Implement `Law.options`."""
        return asdict(self)

    @property
    def label(self) -> str:
        """Implement `Law.label`."""
        parts = [self.decay, f"{self.floor} floor" if self.floor != "none" else "no floor", self.link]
        parts += ["beta(k_c)"] * self.connectivity + ["alpha(n_rec)"] * self.alpha_of_n + ["tokens"] * self.tokens
        return f"{self.name} ({', '.join(parts)})"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        low, high = self._bound("k_range")
        searched = [
            Parameter(
                name="u_ref", lower=1e-9, upper=1e9, start=(1e-3, 1e3), meaning="last channel's snr at (n_ref, k_ref)"
            )
        ]
        k_decay = Parameter(
            name="k_decay", lower=low / 1e2, upper=high * 1e2, start=(low, high), meaning="noise decay, parameters"
        )
        # The bounds are far wider than what the published tables give (alpha about 1, beta 0.9 to 2), so that a fit
        # that ends at one says that its data do not limit the parameter.
        searched += decay_parameters(self.decay, k_decay)
        searched.append(
            Parameter(name="beta", lower=0.05, upper=6.0, start=(0.3, 3.0), meaning="exponent of the signal spectrum")
        )
        if self.floor == "max":
            searched.append(
                Parameter(name="k_floor", lower=low, upper=high, meaning="k_e where the noise floor begins")
            )
        # A max floor outside the data would touch no row or all of them; an additive one bends the curve from far away,
        # so its search goes three decades beyond the data.
        elif self.floor == "additive":
            searched.append(
                Parameter(
                    name="k_floor",
                    lower=low / 1e3,
                    upper=high * 1e3,
                    start=(low / 10, high),
                    meaning="k_e of the noise floor",
                )
            )
        if self.connectivity:
            searched.append(
                Parameter(
                    name="gamma", lower=-3.0, upper=3.0, start=(-0.5, 0.5), log=False, meaning="exponent of beta in k_c"
                )
            )
        if self.alpha_of_n:
            searched.append(
                Parameter(
                    name="delta",
                    lower=-1.0,
                    upper=1.0,
                    start=(-0.2, 0.2),
                    log=False,
                    meaning="exponent of alpha in n_rec",
                )
            )
        if self.link == "boxcox":
            searched.append(
                Parameter(
                    name="lam", lower=-4.0, upper=4.0, start=(-0.5, 1.5), log=False, meaning="exponent of the link"
                )
            )
        if self.tokens:
            searched.append(
                Parameter(name="d", lower=0.005, upper=6.0, start=(0.05, 2.0), meaning="exponent in the tokens")
            )
        return tuple(searched)

    @property
    def axes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Implement `Law.axes`."""
        return ("n_rec", "k_e", "tokens") if self.tokens else ("n_rec", "k_e")

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        return (
            Coefficient(name="a", meaning="metric without information"),
            # Without the sign a fit could explain a metric that gets worse with information, which contradicts the
            # theory.
            Coefficient(name="b", sign=1, meaning="metric per unit of g(I)"),
            *([Coefficient(name="D", sign=1, meaning="metric that training at tokens_ref leaves")] * self.tokens),
        )

    def bind(self, design: Design) -> "EffectiveInformation":
        """Implement `Law.bind`."""
        filled: dict[str, Any] = {
            # References in the middle of the data keep u_ref from following alpha and beta along a ridge.
            "k_ref": self.k_ref or float(np.median(design.k_e)),
            "n_ref": self.n_ref or float(np.sqrt(design.n_rec.min() * design.n_rec.max())),
            "k_range": self.k_range or (float(design.k_e.min()), float(design.k_e.max())),
        }
        low, high = filled["k_range"]
        if low == high:
            # The bounds of a parameter must differ; that there is a single level is said by the fit's statuses.
            filled["k_range"] = (low / 1.001, high * 1.001)
        if self.connectivity:
            filled["k_c_ref"] = self.k_c_ref or float(np.median(design.connectivity))
        if self.tokens:
            filled["tokens_ref"] = self.tokens_ref or float(np.median(design.tokens_seen))
        return replace(self, **filled)

    def scan(self, count: int) -> tuple[str, FloatArray] | None:
        """Implement `Law.scan`."""
        # Only the max floor has a kink.
        if self.floor != "max":
            return None
        low, high = self._bound("k_range")
        return "k_floor", inner_points(low, high, count)

    def wider(self) -> tuple[Law, Mapping[str, float]] | None:
        """Implement `Law.wider`: an exponent of the noise that moves with the number of neurons."""
        # Seed noise hides this departure from tests that look everywhere, though it moves the optimum.
        return (
            (replace(self, alpha_of_n=True), {"delta": 0.0}) if self.decay == "power" and not self.alpha_of_n else None
        )

    def derived(self, theta: Mapping[str, float]) -> dict[str, float]:
        """snr_ref = S = u_ref n_ref^beta (the formula's S), the references, and phi = nu's floor."""
        derived = {"snr_ref": theta["u_ref"] * self._bound("n_ref") ** theta["beta"]}
        # Without its references the u_ref of a stored result would mean nothing.
        derived |= {name: value for name in _REFERENCES if (value := getattr(self, name)) is not None}
        if self.floor != "none":
            derived["phi"] = floor_noise(self._bound("k_ref"), theta, self.decay)
        return derived

    def bits(self, theta: Theta, design: Design) -> FloatArray:
        """Return I_rep in bits, broadcast over theta and rows."""
        return self._state(theta, design).information.bits

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms`."""
        state = self._state(theta, design)
        bits = state.information.bits
        # i_ref is absorbed by a and b. A neuron carries of the order of one bit, so I / n_ref is of order one and
        # its powers stay in range.
        linked = apply_link(bits, self.link, lam=theta.get("lam"), i_ref=self._bound("n_ref"))
        # The minus is in the column, so that b >= 0 is the expected sign: more information, smaller loss.
        columns = [np.ones((1, len(design))), -linked.value]
        slopes = self._gradient(theta, design, state, linked) if gradient else {}
        if self.tokens:
            # Points of a budget line say nothing of training: they are compared at the tokens that the data have.
            seen = np.ones(len(design)) if design.tokens is None else design.tokens / self._bound("tokens_ref")
            columns.append(np.exp(-theta["d"] * np.log(seen)))
            slopes["d", 2] = -theta["d"] * np.log(seen) * columns[2]
        return Terms(tuple(columns), slopes)

    def stationarity(self, theta: Theta, design: Design, kappa: FloatArray) -> FloatArray:
        """d ln I / d ln k_e along a budget, times I: alpha_loc dI/dlnS - kappa dI/dln n_rec (0 at the optimum, whatever
        the link).

        Args:
            theta: Parameters, broadcasting against [rows].
            design: Points on the budget line.
            kappa: k_e / (k_e + k_c) of each point: -d ln n_rec / d ln k_e at a fixed budget.
        """
        state = self._state(theta, design)
        by_snr, by_n = state.information.d_ln_snr, state.information.d_ln_n
        if self.alpha_of_n:
            # Neurons change the noise too, through alpha.
            by_n = by_n - by_snr * theta["delta"] * state.noise.slopes["alpha"]
        # In derivatives of I, not in the metric: near the optimum the metric is flat and its differences cancel, while
        # this function crosses 0.
        return state.noise.local_exponent * by_snr - kappa * by_n

    def _bound(self, option: str) -> Any:
        value = getattr(self, option)
        if value is None:
            raise TheoryError(f"{option}: not set; give it, or bind the law to a design first (law.bind(design))")
        return value

    def _state(self, theta: Theta, design: Design) -> _State:
        ln_n_ref = np.log(self._bound("n_ref"))
        if self.alpha_of_n:
            growth = np.exp(theta["delta"] * (np.log(design.n_rec) - ln_n_ref))
            # The floor is one size of noise for all rows, that of the reference, as it is for levels of alpha.
            theta = {"alpha" + REFERENCE: theta["alpha"], **theta, "alpha": theta["alpha"] * growth}
        noisy = noise(design.k_e, self._bound("k_ref"), theta, decay=self.decay, floor=self.floor)
        beta, beta_ref = theta["beta"], theta.get("beta" + REFERENCE, theta["beta"])
        if self.connectivity:
            beta = beta * np.exp(-theta["gamma"] * np.log(design.connectivity / self._bound("k_c_ref")))
        # S belongs to the first channel, before the spectrum decays: it follows the reference beta, and neither a row's
        # own level of beta nor its connectivity moves it.
        ln_snr = np.log(theta["u_ref"]) + beta_ref * ln_n_ref - noisy.ln_nu
        return _State(noisy, beta, information(design.n_rec, ln_snr, beta))

    def _gradient(
        self, theta: Theta, design: Design, state: _State, linked: Linked
    ) -> dict[tuple[str, int], FloatArray]:
        info = state.information
        # d_ln_i / I = dg/dI, with the minus of the column.
        per_nat = -linked.d_ln_i / info.bits
        # Noise enters through ln S alone, so each of its parameters only multiplies this slope.
        by_snr = per_nat * info.d_ln_snr
        # The search runs in ln beta. This is the part at fixed S; the part through S has its own entry,
        # "beta@reference", so that levels of beta are told apart from the reference that all of them share.
        by_beta = state.beta * (per_nat * info.d_beta)
        beta_ref = theta.get("beta" + REFERENCE, theta["beta"])
        ln_n_ref = np.log(self._bound("n_ref"))
        slopes = {"u_ref": by_snr, "beta": by_beta, "beta" + REFERENCE: by_snr * beta_ref * ln_n_ref}
        slopes |= {name: -by_snr * slope for name, slope in state.noise.slopes.items()}
        if self.connectivity:
            # ln beta falls by ln(k_c/k_c_ref) per unit of gamma.
            slopes["gamma"] = -by_beta * np.log(design.connectivity / self._bound("k_c_ref"))
        if self.alpha_of_n:
            # ln alpha rises by ln(n_rec/n_ref) per unit of delta.
            slopes["delta"] = slopes["alpha"] * (np.log(design.n_rec) - ln_n_ref)
        if linked.d_lam is not None:
            slopes["lam"] = -linked.d_lam
        return {(name, 1): slope for name, slope in slopes.items()}
