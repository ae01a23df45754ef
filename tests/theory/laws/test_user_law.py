"""A user's own function is fitted, ranked and found by its name."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.theory.truths import SIM_COST, grid_design, log_sizes
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.parameters import Parameter
from theory.laws.registry import get_law
from theory.laws.user_law import user_law
from theory.optimum.allocation import optimum
from theory.uncertainty.intervals import bootstrap, delta
from theory.uncertainty.selection import compare

DESIGN = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9), seeds=2)
SOURCE = """
from theory.laws.user_law import user_law

@user_law(parameters={"a": (0.01, 5.0), "b": (0.01, 5.0)}, coefficients=("E", "A", "B"))
def mine(design, a, b):
    return 1, (design.n_rec / 300) ** -a, (design.k_e / 3000) ** -b
"""


@pytest.fixture
def law_file(tmp_path):
    path = tmp_path / "mylaw.py"
    path.write_text(SOURCE)
    return path


def test_law_from_a_file_equals_the_built_in_one(law_file, t2):
    metric = t2.simulate(DESIGN, 0)
    mine = fit_law(f"{law_file}:mine", DESIGN, metric)
    built_in = fit_law("separable_power_law", DESIGN, metric)
    assert mine.rss == pytest.approx(built_in.rss, rel=1e-9)
    assert mine.values["a"] == pytest.approx(built_in.values["a"], rel=1e-5)
    assert mine.has("converged")
    found = compare({"mine": mine, "built in": built_in, "constant": fit_law("constant", DESIGN, metric)})
    assert found.verdict.startswith("Tie: ")
    one, two = optimum(mine, 3.5e6, SIM_COST), optimum(built_in, 3.5e6, SIM_COST)
    assert one.continuum_d_m == pytest.approx(two.continuum_d_m, rel=1e-4)
    for mine_row, other in zip(delta(mine), delta(built_in), strict=True):
        assert mine_row.high == pytest.approx(other.high, rel=1e-3)
    assert bootstrap(mine, 20, kind="residual", starts=1).parameter("b").std() > 0


def test_law_from_an_entry_point(law_file, tmp_path, monkeypatch):
    info = tmp_path / "somebody-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[elm_sweeper.laws]\nsomebodys_law = mylaw:mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    law = get_law("somebodys_law")
    assert law.name == "somebodys_law"
    assert [parameter.name for parameter in law.parameters] == ["a", "b"]
    with pytest.raises(TheoryError, match="takes no options"):
        get_law("somebodys_law", floor="max")
    sys.modules.pop("mylaw", None)


def test_function_that_returns_the_metric_itself():
    @user_law(parameters={"floor": (0.1, 5.0), "power": (0.05, 3.0)})
    def whole(design, floor, power):
        return floor + (design.n_rec * design.k_e / 1e6) ** -power

    metric = 1.3 + (DESIGN.n_rec * DESIGN.k_e / 1e6) ** -0.4
    noisy = metric + 1e-3 * np.random.default_rng(0).standard_normal(len(DESIGN))
    fit = fit_law(whole, DESIGN, noisy)
    assert fit.values["power"] == pytest.approx(0.4, abs=0.01)
    assert fit.p == 2
    assert fit.coefficients == {"all": {}}
    assert delta(fit)[0].low < 1.3 < delta(fit)[0].high


def test_parameter_with_negative_bound_is_searched_linearly():
    @user_law(parameters={"slope": (-2.0, 2.0)}, coefficients=("E",))
    def line(design, slope):
        return (1 + slope * np.log(design.n_rec),)

    fit = fit_law(line, DESIGN, 2 * (1 - 0.05 * np.log(DESIGN.n_rec)))
    assert fit.values["slope"] == pytest.approx(-0.05, rel=1e-5)


def test_mistakes_are_named(law_file):
    with pytest.raises(TheoryError, match=r"'other' is not known.*Valid: mine"):
        get_law(f"{law_file}:other")
    with pytest.raises(TheoryError, match=r"takes \['a'\] after the design, but the parameters are \['b'\]"):
        user_law(parameters={"b": (0.1, 1.0)})(lambda design, a: a)
    with pytest.raises(TheoryError, match="bounds"):
        user_law(parameters={"b": (1.0, 0.1)})
    wrong = user_law(parameters={"a": (0.1, 1.0)}, coefficients=("E", "A"), name="wrong")(lambda design, a: (1,))
    with pytest.raises(TheoryError, match="returned 1 columns, expected 2"):
        fit_law(wrong, DESIGN, DESIGN.n_rec)
    short = user_law(parameters={"a": (0.1, 1.0)}, name="short")(lambda design, a: np.ones(3))
    with pytest.raises(TheoryError, match=r"returned shape \(3,\)"):
        fit_law(short, DESIGN, DESIGN.n_rec)


def test_no_axis_is_missed_that_the_law_does_not_use():
    n_rec = np.repeat(np.geomspace(20, 5e3, 9), 2)
    line = Design(n_rec=n_rec, k_e=np.ones(n_rec.size), tokens=np.full(n_rec.size, 1e6))
    metric = 1 + n_rec**-0.5 + 1e-3 * np.random.default_rng(0).standard_normal(n_rec.size)

    @user_law(parameters={"a": (0.01, 5.0)}, coefficients=("E", "A"))
    def neurons(design, a):
        return 1, design.n_rec**-a

    @user_law(parameters={"a": (0.01, 5.0)}, coefficients=("E", "A"))
    def both(design, a):
        return 1, (design.params * design.tokens) ** -a

    fits = {name: fit_law(law, line, metric) for name, law in (("neurons", neurons), ("both", both))}
    assert fits["neurons"].law.axes == ("n_rec",)
    assert fits["both"].law.axes == ("trainable_params", "tokens")
    missed = {name: [s.sentence for s in fit.statuses if s.code == "few_levels"] for name, fit in fits.items()}
    assert missed["neurons"] == []
    assert [sentence.split(" has ")[0] for sentence in missed["both"]] == ["tokens"]


def test_what_a_function_raises_is_one_line_that_names_law_and_place(tmp_path):
    def lines(source, design=DESIGN):
        path = tmp_path / "wrong.py"
        path.write_text(f"from theory.laws.user_law import user_law\n\n\n{source}")
        with pytest.raises(TheoryError) as raised:
            fit_law(f"{path}:wrong", design, design.n_rec)
        assert "\n" not in str(raised.value)
        return str(raised.value).replace(str(path), "wrong.py")

    head = '@user_law(parameters={"a": (0.1, 1.0)}, coefficients=("E", "A"))\ndef wrong(design, a):\n'
    assert lines(f'{head}    return 1, design.covariates["steps"] ** -a\n') == (
        "law wrong.py:wrong: the rows have no covariate 'steps'; they have none"
    )
    told = replace(DESIGN, covariates={"dose": np.ones(len(DESIGN))})
    assert "the rows have no covariate 'steps'; they have dose" in lines(
        f'{head}    return 1, design.covariates["steps"] ** -a\n', told
    )
    assert lines(f"{head}    return 1, design.depth ** -a\n").startswith(
        "law wrong.py:wrong: wrong.py, line 6: AttributeError: 'Design' object has no attribute 'depth'"
    )
    assert lines(f"{head}    return 1, design.tokens ** -a\n").startswith(
        "law wrong.py:wrong: wrong.py, line 6: TypeErr"
    )
    assert lines(f'{head}    return 1, "x"\n') == "law wrong.py:wrong: returned str, expected numbers"
    assert lines(f"{head}    pass\n").startswith("law wrong.py:wrong: returned 1 columns, expected 2")
    assert lines("import nothing_of_this_name\n") == (
        "law in wrong.py: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    )


def test_a_function_is_never_asked_beyond_its_bounds():
    asked = []

    @user_law(parameters=[Parameter(name="share", lower=0.0, upper=1.0, log=False)], coefficients=("E", "A"))
    def mixed(design, share):
        asked.append(share)
        return 1, np.sqrt(share) * design.n_rec**-0.5 + np.sqrt(1 - share) * design.k_e**-0.5

    fit = fit_law(mixed, DESIGN, 1 + DESIGN.k_e**-0.5 + 1e-5 * np.random.default_rng(0).standard_normal(len(DESIGN)))
    assert fit.values["share"] < 1e-3
    assert 0 <= min(asked) <= max(asked) <= 1
