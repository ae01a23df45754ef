"""A law of your own: a Python function with named parameters and bounds.

Without coefficients the function returns the metric; with coefficients it returns one column for each, and the metric
is their linear combination, solved exactly. The file below, say `mylaw.py`, is then fitted and ranked like a built-in
law as "mylaw.py:saturating":

    from theory.laws.user_law import user_law

    @user_law(parameters={"power": (0.05, 3.0)}, coefficients=("E", "A"))
    def saturating(design, power):
        return 1, (1 + design.n_rec * design.k_e) ** -power

A distribution offers laws to everybody through the entry-point group "elm_sweeper.laws".
"""

import inspect
import runpy
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from theory.data.design import Design
from theory.errors import TheoryError, unknown
from theory.laws.base import Law, Terms, Theta
from theory.laws.parameters import Coefficient, Parameter
from theory.types import FloatArray

STEP = 1e-6
"""Relative step of finite differences, see `Parameter.step`; a user's function comes without derivatives."""

SIZES = ("n_rec", "k_e", "k_c", "trainable_params", "tokens")
"""Columns of a design in which a law may have exponents."""

PROBES = (0.3, 0.5, 0.7)
"""Where in the parameters' starting ranges a law is asked which sizes it uses; at one place an effect may vanish."""


@dataclass(frozen=True, kw_only=True)
class UserLaw(Law):
    """A function wrapped as a law; made by `user_law`."""

    function: Callable[..., Any]
    """function(design, **parameters) -> metric [rows], or one column per coefficient."""
    name: str
    """Where it came from, so that a stored result finds it again."""
    searched: tuple[Parameter, ...]
    """Its parameters."""
    linear: tuple[Coefficient, ...] = ()
    """Its coefficients; empty: the function returns the metric itself."""
    axes: tuple[str, ...] = ()
    """Sizes that the function uses; `bind` finds them out."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Implement `Law.parameters`."""
        return self.searched

    @property
    def coefficients(self) -> tuple[Coefficient, ...]:
        """Implement `Law.coefficients`."""
        return self.linear

    def bind(self, design: Design) -> "UserLaw":
        """Implement `Law.bind`: find out which sizes the function uses, so that no axis is missed that it ignores."""
        # All sizes are given, so that one can be moved while the others stay.
        whole = replace(design, trainable_params=design.params, budget=design.budgets)
        sizes = {name: size for name in SIZES if (size := getattr(whole, name)) is not None}
        used = []
        for name, size in sizes.items():
            moved = replace(whole, **{name: 1.01 * size})
            if any(not np.array_equal(self._probe(whole, share), self._probe(moved, share)) for share in PROBES):
                used.append(name)
        return replace(self, axes=tuple(used))

    def _probe(self, design: Design, share: float) -> FloatArray:
        """The columns at a place of the parameters' starting ranges, [columns, rows]."""
        ranges = {item.name: (item, *item.start_range) for item in self.searched}
        place = {
            name: item.to_natural(np.array(low + share * (high - low))) for name, (item, low, high) in ranges.items()
        }
        # What overflows at a place that no search visits says nothing about the law.
        with np.errstate(all="ignore"):
            return self._call({name: float(value) for name, value in place.items()}, design)

    def terms(self, theta: Theta, design: Design, *, gradient: bool = True) -> Terms:
        """Implement `Law.terms` by calling the function for each set of parameters."""
        plain = {item.name: np.atleast_2d(theta[item.name]) for item in self.searched}
        values = self._stack(plain, design)
        slopes: dict[tuple[str, int], FloatArray] = {}
        for item in self.searched if gradient else ():
            value = plain[item.name]
            step = item.step(value, STEP)
            # Central differences, because their error falls with the square of the step; one-sided at a bound, beyond
            # which the function need not exist.
            up, down = (np.clip(self._moved(item, value, s), item.lower, item.upper) for s in (step, -step))
            width = np.log(up / down) if item.log else up - down
            above, below = (self._stack({**plain, item.name: moved}, design) for moved in (up, down))
            # The base is column -1, see `Terms.gradient`.
            for j in range(len(values)):
                slopes[item.name, j if self.linear else -1] = (above[j] - below[j]) / width
        return Terms(tuple(values), slopes) if self.linear else Terms((), slopes, values[0])

    def _moved(self, item: Parameter, value: FloatArray, step: FloatArray) -> FloatArray:
        # theta comes in natural units, steps are in the search coordinate.
        return np.asarray(value * np.exp(step) if item.log else value + step)

    def _stack(self, theta: Mapping[str, FloatArray], design: Design) -> FloatArray:
        """Columns of every set, [columns, sets, rows]."""
        sets = max((value.shape[0] for value in theta.values()), default=1)
        columns = []
        # One call for each set: a function that people write is not asked to broadcast over sets. A parameter with a
        # single set serves all of them.
        for r in range(sets):
            one_set = {name: value[min(r, len(value) - 1)] for name, value in theta.items()}
            columns.append(self._call({name: float(v[0]) if v.size == 1 else v for name, v in one_set.items()}, design))
        return np.stack(columns, axis=1)

    def _call(self, arguments: Mapping[str, Any], design: Design) -> FloatArray:
        try:
            returned = self.function(design, **arguments)
        except TheoryError as error:
            raise TheoryError(f"law {self.name}: {error}") from error
        except Exception as error:  # whatever a person's function raises is theirs to mend
            raise TheoryError(f"law {self.name}: {self._blame(error)}") from error
        # A function that forgot to return says so below, by the number of its columns.
        parts = (list(returned) if isinstance(returned, Sequence) else [returned]) if self.linear else [returned]
        expected = max(1, len(self.linear))
        if len(parts) != expected:
            raise TheoryError(
                f"law {self.name}: returned {len(parts)} columns, expected {expected}: {[c.name for c in self.linear]}"
            )
        rows = []
        for part in parts:
            try:
                column = np.asarray(part, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise TheoryError(f"law {self.name}: returned {type(part).__name__}, expected numbers") from error
            if column.shape not in ((), (1,), (len(design),)):
                raise TheoryError(
                    f"law {self.name}: returned shape {column.shape}, expected one value for each of {len(design)} rows"
                )
            # A constant column may be written as a number, as the 1 in the example above.
            rows.append(np.broadcast_to(column, (len(design),)))
        return np.stack(rows)

    def _blame(self, error: Exception) -> str:
        """What went wrong in the function, and in which of its lines."""
        code = inspect.unwrap(self.function).__code__ if inspect.isfunction(inspect.unwrap(self.function)) else None
        file = code.co_filename if code is not None else None
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f"{file}, line {lines[-1]}: " if lines else ""
        return f"{place}{type(error).__name__}: {' '.join(str(error).split())}"


def user_law(
    *,
    parameters: Mapping[str, tuple[float, float]] | Sequence[Parameter],
    coefficients: Sequence[str | Coefficient] = (),
    name: str | None = None,
) -> Callable[[Callable[..., Any]], UserLaw]:
    """Turn a function into a law.

    Args:
        parameters: Bounds by name (searched in the logarithm if the lower one is above 0), or full descriptions.
        coefficients: Names of linear parameters, one for each column that the function returns; none: it returns the
            metric.
        name: Shown in tables; default: the function's.

    Raises:
        TheoryError: the function does not take exactly these parameters after the design.

    >>> @user_law(parameters={"power": (0.05, 3.0)}, coefficients=("E", "A"))
    ... def shifted(design, power):
    ...     return 1, (1 + design.n_rec) ** -power
    >>> from theory.fit.fit import fit_law
    >>> design = Design(n_rec=2.0 ** np.arange(12), k_e=np.ones(12))
    >>> fit = fit_law(shifted, design, 2 + 3 * (1 + design.n_rec) ** -0.7)
    >>> round(fit.values["power"], 6), round(fit.coefficients["all"]["A"], 6)
    (0.7, 3.0)
    """
    searched = _parameters(parameters)
    linear = tuple(item if isinstance(item, Coefficient) else Coefficient(name=item) for item in coefficients)

    def wrap(function: Callable[..., Any]) -> UserLaw:
        title = str(name or getattr(function, "__name__", "user law"))
        # The first argument is the design. Names are compared here, because a call would fail only in the middle of a
        # fit.
        arguments = list(inspect.signature(function).parameters)[1:]
        names = [item.name for item in searched]
        if sorted(arguments) != sorted(names):
            raise TheoryError(
                f"law {title}: the function takes {arguments} after the design, but the parameters are {names}"
            )
        return UserLaw(function=function, name=title, searched=searched, linear=linear)

    return wrap


def load_user_law(spec: str) -> UserLaw:
    """Load "path/to/file.py:name".

    Raises:
        TheoryError: no such file, or no law of that name in it; the message lists those that are.

    >>> load_user_law("nowhere.py:mine")
    Traceback (most recent call last):
    theory.errors.TheoryError: law: no file 'nowhere.py' (from 'nowhere.py:mine'); give path/to/file.py:name
    """
    # From the right, since a path may hold a colon.
    path, _, name = spec.rpartition(":")
    if not Path(path).is_file():
        raise TheoryError(f"law: no file {path!r} (from {spec!r}); give path/to/file.py:name")
    # Run as a file and not imported: it need not lie on the import path, and two files may have one name.
    try:
        content = runpy.run_path(path)
    except TheoryError as error:
        raise TheoryError(f"law in {path}: {error}") from error
    except Exception as error:  # whatever a person's file raises is theirs to mend
        raise TheoryError(f"law in {path}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    laws = {key: value for key, value in content.items() if isinstance(value, UserLaw)}
    if name not in laws:
        raise unknown(
            f"law in {path}", name, laws or ["(none: decorate a function with theory.laws.user_law.user_law)"]
        )
    law = laws[name]
    # named by where it is, which is how a stored result finds it again
    return UserLaw(function=law.function, name=spec, searched=law.searched, linear=law.linear)


def _parameters(described: Mapping[str, tuple[float, float]] | Sequence[Parameter]) -> tuple[Parameter, ...]:
    if isinstance(described, Mapping):
        bounds = described.items()
        return tuple(Parameter(name=name, lower=low, upper=high, log=low > 0) for name, (low, high) in bounds)
    return tuple(described)
