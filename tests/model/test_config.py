import subprocess
import sys

import pytest

from model.config import ConfigError, ElmConfig

SIZES = {"n_in": 5, "n_out": 3, "n_rec": 7, "d_m": 2, "d_tree": 4, "d_branch": 3}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_rec", 0),
        ("d_branch", 0),
        ("d_tree", -1),
        ("d_m", 2.5),
        ("n_in", True),
        ("d_mlp", 0),
        ("l_mlp", -1),
        ("rho_rec", 1.5),
        ("tau_m_min", 0.0),
        ("tau_m_max", 0.01),
        ("tau_r", -2),
        ("tau_b", 0.0),
        ("lambda_", "5"),
        ("lambda_as_ratio", 1),
        ("input_scale", float("nan")),
        ("dropout_in", 1.0),
        ("dropout_rec", -0.1),
    ],
)
def test_impossible_values_are_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: .*give .") as error:
        ElmConfig(**{**SIZES, field: value})
    assert "\n" not in str(error.value)
    assert repr(value) in str(error.value)


def test_whole_numbers_become_floats_so_that_equal_configs_look_equal() -> None:
    assert repr(ElmConfig(**SIZES, tau_m_max=50)) == repr(ElmConfig(**SIZES, tau_m_max=50.0))


def test_default_mlp_width_follows_d_m() -> None:
    assert ElmConfig(**SIZES).mlp_width == 4
    assert ElmConfig(**SIZES, d_mlp=9).mlp_width == 9


def test_config_and_budget_load_the_standard_library_only() -> None:
    code = "import sys, model.budget, model.config; print([m for m in ('torch', 'numpy', 'ray') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
