"""Every example in the package's docstrings runs."""

import doctest
import importlib
import pkgutil

import pytest

import theory

MODULES = sorted(f"theory.{module.name}" for module in pkgutil.iter_modules(theory.__path__) if module.name != "bench")


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0
