"""Parameters that vary by level: how their numbers are named, and which of them each row of a design takes.

An ablation may move one parameter of a law, such as alpha with tau_m_max, while all else is shared. Such a parameter
has one number for each level of a covariate; definitions that all levels share use its reference level.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.design import Design, IntArray, LabelArray
from theory.errors import TheoryError
from theory.laws.base import REFERENCE
from theory.laws.parameters import Parameter
from theory.types import FloatArray


class Searched(NamedTuple):
    """What one searched number stands for."""

    parameter: Parameter
    column: str | None = None
    """Covariate that the parameter varies with; None where it is shared by all rows."""
    level: object = None
    """Its level of that covariate."""

    @property
    def label(self) -> str:
        """Name in results, such as "alpha" or "alpha[tau_m_max=10]"."""
        # A shared parameter keeps its plain name, so that results of fits with and without levels are read alike.
        if self.column is None:
            return self.parameter.name
        return level_label(self.parameter.name, self.column, self.level)


def level_label(name: str, column: str, level: object) -> str:
    """Name one level of a varying parameter.

    >>> level_label("alpha", "tau_m_max", 10)
    'alpha[tau_m_max=10]'
    """
    # The name is for people; nothing reads the level out of it again, `Searched` keeps it.
    return f"{name}[{column}={level}]"


def reference_level(levels: LabelArray) -> object:
    """Return the most frequent level, ties to the smallest."""
    # The most frequent level is the best determined one, and what is shared by all levels leans on it.
    # np.unique sorts and argmax takes the first of equals, hence the smallest of equally frequent levels.
    values, counts = np.unique(levels, return_counts=True)
    return values[np.argmax(counts)].item()


def searched_numbers(parameters: Sequence[Parameter], vary: Mapping[str, str], design: Design) -> list[Searched]:
    """List the numbers behind some parameters, one for each level where a parameter varies.

    Args:
        parameters: In the order of the law.
        vary: Covariate by parameter.
        design: Its rows, whose levels are those that exist.
    """
    numbers: list[Searched] = []
    for parameter in parameters:
        column = vary.get(parameter.name)
        if column is None:
            numbers.append(Searched(parameter))
            continue
        # Sorted, so that the order of the numbers does not depend on that of the rows.
        levels = np.unique(design.labels(column, f"vary.{parameter.name}")).tolist()
        numbers += [Searched(parameter, column, level) for level in levels]
    return numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelMap:
    """Which numbers each parameter of a law takes, row by row."""

    shared: tuple[str, ...]
    """Parameters with one number for all rows."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels of the numbers that the rows take, by varying parameter."""
    codes: Mapping[str, IntArray] = field(default_factory=dict)
    """Place of each row's number among them, [rows], by varying parameter."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Label of the reference level, by varying parameter."""

    def theta(self, value: Callable[[str], FloatArray]) -> dict[str, FloatArray]:
        """Return the parameters by name, those that vary with their reference level beside them.

        Args:
            value: From a label to its numbers, [..., 1]: the last axis stands for the rows.

        Returns:
            Arrays [..., 1], or [..., rows] for parameters that vary.
        """
        theta = {name: value(name) for name in self.shared}
        for name, labels in self.labels.items():
            theta[name + REFERENCE] = value(self.references[name])
            # [..., levels] indexed by [rows] gives [..., rows]: each row picks the number of its level.
            theta[name] = np.concatenate([value(label) for label in labels], axis=-1)[..., self.codes[name]]
        return theta

    def mask(self, number: "Searched") -> FloatArray | None:
        """Return 1 for the rows that take a number and 0 for the others, [rows]; None where all rows take it."""
        name = number.parameter.name
        if name not in self.labels:
            return None
        return np.array([label == number.label for label in self.labels[name]], dtype=np.float64)[self.codes[name]]

    def is_reference(self, number: "Searched") -> bool:
        """Whether definitions that all levels share use this number."""
        return self.references.get(number.parameter.name, number.label) == number.label

    def take(self, index: npt.ArrayLike) -> "LevelMap":
        """Return the map of the chosen rows."""
        # The labels stay, since a selection may lack the rows of a level but not its number.
        return replace(self, codes={name: codes[np.asarray(index)] for name, codes in self.codes.items()})


def map_levels(
    parameters: Sequence[Parameter], vary: Mapping[str, str], fitted: Design, levels: Mapping[str, Sequence[object]]
) -> LevelMap:
    """Look up the numbers of some rows.

    Args:
        parameters: Of the law.
        vary: Covariate by parameter.
        fitted: The rows that were fitted: they say which levels exist and which is the reference.
        levels: Level of each row by covariate; rows take the reference level of a covariate that is missing.

    Raises:
        TheoryError: a level was not in the fit.
    """
    labels: dict[str, tuple[str, ...]] = {}
    codes: dict[str, IntArray] = {}
    references: dict[str, str] = {}
    for parameter in parameters:
        name = parameter.name
        if name not in vary:
            continue
        column = vary[name]
        # Levels that exist are those of the fitted rows, whatever rows are predicted.
        present = fitted.labels(column, f"vary.{name}")
        reference = reference_level(present)
        fitted_labels = [level_label(name, column, level) for level in np.unique(present).tolist()]
        # rows without the covariate get the one code 0, which broadcasts over however many rows there are
        row_labels = [level_label(name, column, level) for level in levels.get(column, [reference])]
        for label, level in zip(row_labels, levels.get(column, [reference]), strict=True):
            if label not in fitted_labels:
                raise TheoryError(
                    f"covariates.{column}: level {level!r} was not in the fit; known: {', '.join(fitted_labels)}"
                )
        # Only levels that these rows have, so that a prediction at one place carries one number and not all of them.
        labels[name] = tuple(dict.fromkeys(row_labels))
        place = {label: code for code, label in enumerate(labels[name])}
        codes[name] = np.array([place[label] for label in row_labels], dtype=np.int64)
        references[name] = level_label(name, column, reference)
    shared = tuple(parameter.name for parameter in parameters if parameter.name not in vary)
    return LevelMap(shared=shared, labels=labels, codes=codes, references=references)


def levels_of(design: Design) -> dict[str, list[object]]:
    """Return the level of each row by covariate, as `map_levels` takes them."""
    return {name: column.tolist() for name, column in design.covariates.items()}


def one_row(levels: Mapping[str, object] | None) -> dict[str, list[object]]:
    """Return the levels of a single place as those of a single row."""
    return {name: [level] for name, level in (levels or {}).items()}
