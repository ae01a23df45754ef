"""Every example in the package's docstrings runs."""

import doctest
import importlib
import pkgutil

import pytest

import theory

MODULES = sorted(module.name for module in pkgutil.walk_packages(theory.__path__, prefix="theory."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0
