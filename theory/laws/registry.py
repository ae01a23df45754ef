"""The registry of laws: built-in ones by name, a user's own by entry point or by `path.py:name`.

>>> sorted(LAWS)[:4]
['broken_power_law', 'constant', 'cubic', 'effective_information']
>>> get_law("effective_information", floor="additive").label
'effective_information (power, additive floor, affine)'
"""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

from theory.errors import TheoryError, unknown
from theory.laws.base import Law
from theory.laws.effective import EffectiveInformation
from theory.laws.neuron_noise import NeuronNoise
from theory.laws.rivals import (
    BrokenPowerLaw,
    Constant,
    ParametersAndTokens,
    Polynomial,
    PowerLaw,
    SeparablePowerLaw,
)
from theory.laws.user_law import UserLaw, load_user_law

ENTRY_POINTS = "elm_sweeper.laws"
"""Entry-point group of laws that other distributions bring."""

FACTORIES: dict[str, Callable[..., Law]] = {
    "effective_information": EffectiveInformation,
    "constant": Constant,
    "quadratic": lambda **options: Polynomial(degree=2, **options),
    "cubic": lambda **options: Polynomial(degree=3, **options),
    "separable_power_law": SeparablePowerLaw,
    "parameters_and_tokens": ParametersAndTokens,
    "power_law": PowerLaw,
    "broken_power_law": BrokenPowerLaw,
    "neuron_noise": NeuronNoise,
}

LAWS: dict[str, Law] = {name: factory() for name, factory in FACTORIES.items()}
"""Every built-in law with its default options."""


def get_law(name: str | Law, **options: Any) -> Law:
    """Find a law.

    Args:
        name: A built-in name, the name of an entry point in the group "elm_sweeper.laws", "path/to/file.py:name", or a
            law (returned as it is).
        options: Passed to a built-in law, such as floor="additive" or link="boxcox".

    Raises:
        TheoryError: the name or an option is unknown; the message lists the choices.
    """
    if isinstance(name, Law):
        return name
    # Built-in names come first, so that no installed package can change what they mean.
    if name in FACTORIES:
        try:
            return FACTORIES[name](**options)
        # The constructors take keywords only, so an unknown option arrives as Python's TypeError, which lists no
        # choices.
        except TypeError as error:
            choices = ", ".join(sorted(LAWS[name].options)) or "none"
            raise TheoryError(f"law {name}: unknown option among {sorted(options)}; choose from: {choices}") from error
    if options:
        raise TheoryError(f"law {name}: unknown, or takes no options, got {sorted(options)}")
    if ".py:" in name:
        return load_user_law(name)
    # Looked for only now, because reading the metadata of all installed packages takes time that built-in laws need not
    # spend.
    offered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in offered:
        return _as_law(offered[name].load(), name)
    raise unknown("law", name, [*FACTORIES, *offered, "path/to/file.py:name"])


def _as_law(value: object, name: str) -> Law:
    if isinstance(value, UserLaw):
        # A function does not know what it was registered as; results must say the name under which it can be found
        # again.
        return replace(value, name=name)
    if isinstance(value, Law):
        return value
    raise TheoryError(f"law {name}: expected a theory.laws.base.Law, got {type(value).__name__}")
