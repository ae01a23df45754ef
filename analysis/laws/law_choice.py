"""Which laws are fitted: what `--law` names, the variants that `best` chooses from, and their rivals."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from theory.data.design import Design
from theory.errors import TheoryError
from theory.laws.base import Law
from theory.laws.registry import FACTORIES, LAWS, get_law

BEST = "best"
"""Choose the variant of the effective-information law (floor, link, connectivity, alpha) with the smallest AICc."""

RIVALS = ("separable_power_law", "quadratic", "power_law", "constant")
"""Laws that are always fitted beside the chosen one."""

LINK_BUDGETS = 3
"""Budgets from which a free link (Box-Cox) and an alpha that depends on n_rec are tried; one budget cannot tell either
from an exponent."""


def candidates(text: str, rows: pd.DataFrame) -> dict[str, Law]:
    """Laws named by `--law`: one, or for `best` all variants that these rows may tell apart."""
    # A law that was asked for by name is tried whatever the rows are.
    if text != BEST:
        return {text: LawChoice.read(text).law()}
    budgets = rows["budget"].nunique()
    links = ("affine", "boxcox") if budgets >= LINK_BUDGETS else ("affine",)
    # With one connectivity its exponent could be anything.
    connected = (False, True) if rows["k_c"].nunique() > 1 else (False,)
    variants: dict[str, Law] = {}
    # The published figure captions speak of a maximum floor, the published NeuronIO table prefers the additive one, and
    # many sweeps are too small to show a floor at all.
    for floor in ("additive", "max", "none"):
        for link in links:
            for connectivity in connected:
                options = {"floor": floor, "link": link} | ({"connectivity": True} if connectivity else {})
                choice = LawChoice("effective_information", options)
                variants[choice.text] = choice.law()
        # Under the affine link alone, which is where it was measured to be worth its parameter
        # (`theory/simulations/coverage.md`).
        if budgets >= LINK_BUDGETS:
            choice = LawChoice("effective_information", {"floor": floor, "link": "affine", "alpha_of_n": True})
            variants[choice.text] = choice.law()
    return variants


class LawChoice(NamedTuple):
    """A law by name and options, as `--law` and the names in `LawFit.fits` write it."""

    name: str
    """Key in the registry, or ``path/to/file.py:name``."""
    options: Mapping[str, Any]

    @classmethod
    def read(cls, text: str) -> "LawChoice":
        """Read ``name`` or ``name:option=value,...``.

        Raises:
            AnalysisError: an option has no value, or one of another kind.
        """
        name, _, tail = text.partition(":")
        if name.endswith(".py"):  # the colon stands before the function's name there, and such a law has no options
            return cls(text, {})
        options: dict[str, Any] = {}
        for item in filter(None, tail.split(",")):
            key, equals, value = item.partition("=")
            if not equals:
                raise AnalysisError(f"--law {text}: {item!r} is not of the form option=value")
            if key.strip() in options:
                raise AnalysisError(f"--law {text}: {key.strip()} is given twice; give it once")
            # An option that the law does not have counts as a word, which `law` then refuses with the valid names.
            default = LAWS[name].options.get(key.strip(), "") if name in LAWS else ""
            options[key.strip()] = _option(f"--law {text}: {key.strip()}", value.strip(), default)
        return cls(name, options)

    @property
    def text(self) -> str:
        """The same as text: ``name:option=value,...``."""
        values = [
            f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in self.options.items()
        ]
        return f"{self.name}:{','.join(values)}" if values else self.name

    def without(self, option: str) -> "LawChoice":
        """The same law with one option left at its default."""
        return self._replace(options={key: value for key, value in self.options.items() if key != option})

    def law(self) -> Law:
        """Build the law.

        Raises:
            AnalysisError: unknown law or option.
        """
        try:
            return get_law(self.name, **self.options)
        except TheoryError as error:
            raise AnalysisError(f"--law {self.text}: {error}. Laws: {BEST}, {', '.join(FACTORIES)}") from error


def _option(place: str, text: str, default: object) -> str | bool:
    """Read the value of a law's option, of the kind that its default has."""
    if default is None:  # reference sizes, which every law takes from the rows that it is fitted to
        raise AnalysisError(f"{place} follows from the rows and cannot be set here")
    if not isinstance(default, bool):
        return text
    if text.lower() not in ("true", "false"):
        raise AnalysisError(f"{place} must be true or false, got {text!r}")
    return text.lower() == "true"


def rivals(rows: pd.DataFrame, design: Design) -> dict[str, Law]:
    """Laws that are fitted beside the chosen one, whichever that is: those that these rows can tell apart."""
    connectivity = rows["k_c"].nunique() > 1
    laws = {
        name: get_law(name, connectivity=True) if name == "separable_power_law" and connectivity else get_law(name)
        for name in RIVALS
    }
    # Where all were trained alike the tokens explain nothing.
    if design.tokens is not None and np.unique(design.tokens).size > 1:
        laws["parameters_and_tokens"] = get_law("parameters_and_tokens")
    return laws
