"""The belief knows when its law is wrong, and how sure so few runs can make it."""

import numpy as np
import pytest

from tests.theory.next_runs.test_sequential import BUDGETS, CANDIDATES, LINES, OWN, PLACES, RUNS, SMOOTH
from tests.theory.truths import SIGMA, SIM_COST
from theory.errors import TheoryError
from theory.next_runs import belief as beliefs
from theory.next_runs.belief import believe, best_fits
from theory.next_runs.sequential import locate_optimum
from theory.optimum.locate import locate


def dented(truth):
    hump = 0.03 * np.exp(-0.5 * ((np.log(CANDIDATES.d_m) - np.log(14)) / 0.4) ** 2)
    return truth.simulate(CANDIDATES, 0) + hump


@pytest.fixture(scope="module")
def belief(t2):
    return believe(RUNS, t2.simulate(RUNS, 0), PLACES, smooth=SMOOTH)


def test_a_right_law_is_trusted_and_finds_the_optimum(belief, t2):
    assert belief.trusted
    for budget, line in zip(BUDGETS, LINES, strict=True):
        found = locate_optimum(belief, line)
        truth = locate(t2.curve, budget, SIM_COST, (3, 120)).d_m[0]
        assert found.bracketed
        assert found.low < truth < found.high
        assert found.half_width < 0.3


def test_an_interval_that_reaches_an_end_is_told_from_an_optimum_at_the_end(belief):
    line = LINES[1]
    whole, ladder = locate_optimum(belief, line), PLACES.d_m[line]
    short = locate_optimum(belief, line[ladder < whole.high])
    shorter = locate_optimum(belief, line[ladder < 0.5 * whole.d_m])
    found = [(one.bracketed, one.open_ended) for one in (whole, short, shorter)]
    assert found == [(True, False), (True, True), (False, True)]


def test_a_wrong_law_is_not_trusted_and_the_correction_follows_the_runs(t2):
    loss = dented(t2)
    found = believe(CANDIDATES, loss, PLACES)
    assert not found.trusted
    assert found.hyper.amplitude > 0.003
    law, corrected = found.fit.predict(CANDIDATES) - loss, found.mean[OWN] - loss
    assert np.abs(corrected).mean() < 0.6 * np.abs(law).mean()


def test_too_few_runs_are_refused(t2):
    few = RUNS.take(np.arange(6))
    with pytest.raises(TheoryError, match="no law can be fitted to 6 runs"):
        believe(few, t2.simulate(few, 0), PLACES)


def test_runs_without_noise(t2):
    exact = believe(RUNS, t2.metric(RUNS), PLACES, smooth=SMOOTH)
    assert locate_optimum(exact, LINES[1]).half_width < 0.1


def test_parameters_that_act_alike_are_no_end():
    """A metric of n_rec alone leaves the laws parameters that do nothing: the damped matrix must stay regular."""
    assert best_fits(RUNS, 1 + RUNS.n_rec**-0.5)


def test_configurations_that_differ_on_their_own_are_named_by_their_replicates(t2):
    """A jump that replicates share is no noise, and no smooth correction follows it; the curve does not follow it."""
    runs = CANDIDATES.take(np.tile(OWN, 4))
    jump = np.where(np.arange(len(OWN)) % 2, 4.0, -4.0) * SIGMA
    found = believe(runs, t2.simulate(runs, 0) + np.tile(jump, 4), PLACES, smooth=SMOOTH)
    assert not found.trusted
    assert found.hyper.roughness > 2 * SIGMA
    assert found.hyper.noise < 1.5 * SIGMA
    assert np.abs(found.mean[OWN] - t2.metric(CANDIDATES) - jump).mean() < SIGMA
    assert np.abs(found.mean[SMOOTH] - t2.metric(PLACES.take(SMOOTH))).mean() < 2.5 * SIGMA


def test_replicates_count_as_the_single_runs_that_they_are(t2):
    """A configuration's mean and spread carry all that its runs say."""
    fit = best_fits(RUNS, t2.simulate(RUNS, 0))[0]
    runs = RUNS.take(np.repeat(np.arange(len(RUNS)), 3))
    loss = t2.simulate(runs, 0)
    problem = beliefs._problem(fit, runs, loss, PLACES, SMOOTH)
    assert len(problem.counts) == len(RUNS)
    single = beliefs._problem(fit, runs.take(np.arange(0, len(runs), 3)), loss[::3], PLACES, SMOOTH)
    of = np.repeat(np.arange(len(RUNS)), 3)
    rows = [beliefs.Hyper(0.003, 0.004, 0.002, 0.7, 0.0), beliefs.Hyper(0.005, 0.0, 0.0, 0.7, 0.0)]
    found = [problem.log_likelihood(hyper) for hyper in rows]
    _, order = np.unique(beliefs._identity(RUNS), axis=0, return_index=True)
    place = np.argsort(order)[of]
    law = loss - np.asarray(fit.predict(runs))
    direct = []
    for hyper in rows:
        shared = single.base + beliefs._kernel(single.near, hyper) + hyper.roughness**2 * np.eye(len(RUNS))
        whole = shared[np.ix_(place, place)] + hyper.noise**2 * np.eye(len(runs))
        direct.append(-0.5 * law @ np.linalg.solve(whole, law) - 0.5 * np.linalg.slogdet(whole)[1])
    assert found[0] - found[1] == pytest.approx(direct[0] - direct[1], rel=1e-4)


def test_few_runs_do_not_show_that_a_law_is_right(t2):
    """The same law, trusted by both: nine runs leave room for departures that many runs exclude."""
    few = RUNS.take(np.arange(0, len(RUNS), 2)[:9])
    many = RUNS.take(np.tile(np.arange(len(RUNS)), 4))
    early, late = (believe(d, t2.simulate(d, 0), PLACES, smooth=SMOOTH) for d in (few, many))
    assert early.trusted
    assert late.trusted
    assert early.hyper.departure > 2 * late.hyper.departure
