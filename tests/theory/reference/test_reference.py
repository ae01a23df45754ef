"""The numbers of `theory` have the digits of public references, and the report says so when they have not."""

import pytest

from theory.reference import chinchilla, closed_form, nist
from theory.reference.__main__ import main
from theory.reference.digits import digits


def test_fast_part_has_its_digits(capsys):
    assert main(["--fast"]) == 0
    assert "TOO FEW" not in capsys.readouterr().out


def test_wrong_reference_is_found(monkeypatch, capsys):
    data, certified = nist.tables()
    certified[0]["certified"] = "2.3895E+02"
    monkeypatch.setattr(nist, "tables", lambda: (data, certified))
    assert main(["--fast"]) == 1
    assert capsys.readouterr().out.count("TOO FEW") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(nist.MODELS) - set(nist.FAST)))
def test_nist_problem_has_its_digits(name):
    assert [row for row in nist.compare(name) if not row.met] == []


@pytest.mark.slow
def test_closed_form_and_chinchilla_have_their_digits():
    assert [row for row in closed_form.compare() + chinchilla.compare() if not row.met] == []


def test_digits_are_those_of_the_worst_number():
    assert digits([1.0, 1.01], [1.0, 1.0]) == pytest.approx(2.0)
    assert digits(1e-8, 0.0) == pytest.approx(8.0)
    assert digits(float("nan"), 1.0) == 0.0
