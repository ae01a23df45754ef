"""Noise laws on the published NeuronIO table: gaps from an independent fit, and where ours are better optima."""

import numpy as np
import pytest

from theory.data.published import load_published
from theory.errors import TheoryError
from theory.uncertainty.neuron import fit_neuron

TABLE = load_published("neuronio")
ERRORS = {
    "test MAE": TABLE.columns["test_soma_mae"],
    "valid MAE": TABLE.columns["valid_soma_mae"],
    "test RMSE": TABLE.columns["test_soma_rmse"],
    "test MSE": TABLE.columns["test_soma_rmse"] ** 2,
    "1 - AUC": 1 - TABLE.columns["test_auc"],
}
GAPS = {  # power, max floor, exp + floor, stretched + floor: AICc above power + additive floor
    "test MAE": (42.9, 18.5, 18.8, 5.0),
    "valid MAE": (36.2, 15.6, 14.1, 6.2),
    "test RMSE": (39.5, 20.4, 16.8, 5.5),
    "test MSE": (40.7, 21.7, 19.6, 6.3),
    "1 - AUC": (51.0, 19.2, 26.6, 5.3),
}
ALPHA = {"test MAE": 0.956, "valid MAE": 1.071, "test RMSE": 0.896, "test MSE": 1.061, "1 - AUC": 1.272}
SE = {"test MAE": 0.050, "valid MAE": 0.076, "test RMSE": 0.055, "test MSE": 0.057, "1 - AUC": 0.040}
BETTER_MAX = {"test RMSE", "test MSE"}  # the independent fit stopped in a local minimum of the max floor


@pytest.mark.parametrize("name", list(ERRORS))
def test_order_and_gaps_of_noise_laws(name):
    rows = {row.form: row for row in fit_neuron(TABLE.design.k_e, ERRORS[name])}
    power, floor, exponential, stretched = GAPS[name]
    best = rows["power + additive floor"]
    assert best.delta == 0
    assert best.alpha == pytest.approx(ALPHA[name], abs=0.01)
    assert best.alpha_se == pytest.approx(SE[name], abs=0.002)
    assert rows["power"].delta == pytest.approx(power, abs=0.1)
    assert rows["exponential + additive floor"].delta == pytest.approx(exponential, abs=0.1)
    assert rows["stretched + additive floor"].delta == pytest.approx(stretched, abs=0.1)
    assert 48 < rows["exponential"].delta < 66
    found = rows["power + max floor"].delta
    assert found == pytest.approx(floor, abs=0.1) if name not in BETTER_MAX else 15 < found < floor - 1


@pytest.mark.parametrize("name", sorted(BETTER_MAX))
def test_max_floor_optimum_by_brute_force(name):
    """k_floor on a fine grid, the rest solved exactly: no value beats the search's."""
    k, y = np.log(TABLE.design.k_e), np.log(ERRORS[name])
    fit = next(row for row in fit_neuron(TABLE.design.k_e, ERRORS[name]) if row.form == "power + max floor").fit
    costs = []
    for floor in np.linspace(k.min(), k.max(), 4000)[1:]:
        columns = np.stack([np.ones_like(k), np.minimum(k, floor)], axis=1)
        costs.append(float(np.sum((y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]) ** 2)))
    assert fit.rss <= min(costs) * (1 + 1e-6)


def test_floor_of_the_published_error():
    mae = fit_neuron(TABLE.design.k_e, ERRORS["test MAE"])[0]
    mse = fit_neuron(TABLE.design.k_e, ERRORS["test MSE"])[0]
    assert mae.floor == pytest.approx(0.3154, abs=5e-5)
    assert mse.floor == pytest.approx(0.354, abs=5e-4)


def test_exponent_hangs_on_the_floor():
    """Fixing the floor near the last point moves alpha: the floor must be fitted."""
    error = ERRORS["test MAE"]
    for share, alpha in ((0.90, 0.45), (0.95, 0.58), (0.98, 0.74), (0.995, 0.95)):
        floor = share * error[-1]
        slope = np.polyfit(np.log(TABLE.design.k_e), np.log(error - floor), 1)[0]
        assert -slope == pytest.approx(alpha, abs=0.25)
    assert fit_neuron(TABLE.design.k_e, error)[0].floor / error[-1] == pytest.approx(0.994, abs=0.002)


def test_bad_input_is_named():
    with pytest.raises(TheoryError, match="error: every value must be finite and above 0"):
        fit_neuron([1.0, 2.0], [0.5, 0.0])
    with pytest.raises(TheoryError, match="form: 'cubic' is not known"):
        fit_neuron(TABLE.design.k_e, ERRORS["test MAE"], forms=["cubic"])
    with pytest.raises(TheoryError, match="cannot support"):
        fit_neuron(TABLE.design.k_e[:6], ERRORS["test MAE"][:6])
