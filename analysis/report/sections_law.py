"""The sections about what the law is worth: frontier, exponents, held-out errors, calibration, residuals, choices."""

from collections.abc import Sequence

from analysis.html import Cell, none
from analysis.laws.findings import Estimate, HeldOutErrors, NoInterval, Refusal, RefusedVariant, Variant, VariantPlace
from analysis.report.model import Group
from analysis.report.tables import Section, Table, compute_sentences, compute_table, interval_text
from theory.uncertainty.heldout import HeldOut


def _not_computed(group: Group) -> str:
    """Why a section that needs evidence has none."""
    # The reason is another one in each case, and so is what would help.
    if group.law is None:
        return "Not computed: no law."
    return "Left out of a quick report: run `analysis fit-theory` without --quick."


def neuron(group: Group) -> list[Section]:
    """Noise laws of single neurons; no section where the rows are networks."""
    noise_laws, title = None if group.evidence is None else group.evidence.neuron, "Noise law of single neurons"
    if noise_laws is None:
        return []
    if isinstance(noise_laws, Refusal):
        return [Section("neuron", title, [f"Not fitted: {noise_laws.reason}."], [])]
    rows = [(row.form, row.alpha, row.alpha_se, row.floor, row.aicc, row.delta) for row in noise_laws.forms]
    sentences = [f"Error = {noise_laws.error}, as a law of k_e, by AICc; every row is one neuron."]
    return [Section("neuron", title, sentences, [Table(("form", "alpha", "± (se)", "floor", "AICc", "Δ"), rows)])]


def frontier(group: Group) -> Section:
    """The best configuration of each size and the power law through them."""
    if group.evidence is None:
        return Section("frontier", "Frontier", [_not_computed(group)], [])
    evidence = group.evidence.frontier
    rows = [(none(size), value) for size, value in zip(evidence.sizes, evidence.metric, strict=True)]
    law = evidence.power_law
    if law is None:
        sentences = [f"No power law through the frontier: {evidence.power_law_reason}."]
    else:
        # The exponent is the first parameter of the power law.
        ends = "" if isinstance(law.interval, Refusal) else f" (95 %: {interval_text(law.interval[0])})"
        sentences = [f"metric = {law.E:.4g} + {law.A:.3g} (P / {law.p_ref:.4g})^-{law.exponent:.3g}{ends}."]
        # What is fine needs no sentence; a warning belongs to the very number above it.
        sentences += [status.sentence for status in law.statuses if status.level in ("warning", "error")]
    sentences.append(evidence.regime.sentence)
    return Section("frontier", "Frontier", sentences, [Table(("P", "best metric"), rows)])


def compute(group: Group) -> list[Section]:
    """Best splits of training compute; no section where the law knows no tokens."""
    splits, title = None if group.evidence is None else group.evidence.compute, "Best split of training compute"
    if splits is None:
        return []
    if isinstance(splits, Refusal):
        return [Section("compute", title, [f"{splits.reason}."], [])]
    return [Section("compute", title, compute_sentences(splits), [compute_table(splits)])]


def exponents(group: Group) -> Section:
    """How the law's optimum moves with the budget, in numbers."""
    title = "Scaling exponents"
    if group.evidence is None or not group.evidence.exponents:
        reason = _not_computed(group)
        if group.evidence is not None:
            # Without a budget there is no line along which the law could have an optimum.
            reason = group.evidence.intervals_reason or "None: the law has no best split of any budget here."
        return Section("exponents", title, [reason], [])
    rows: list[tuple[Cell, ...]] = []
    sentences = []
    for row in sorted(group.evidence.exponents, key=lambda row: (row.k_c, row.budget)):
        cells: list[Cell] = [none(row.budget), none(row.k_c)]
        for estimate in (row.n_rec, row.k_e, row.d_m):
            cells += [estimate.estimate, interval_text(estimate)]
        rows.append(tuple(cells))
        sentences.append(
            f"At P = {row.budget:,.0f} (k_c {row.k_c:g}): N* ~ P^{exponent_text(row.n_rec)}, "
            f"d_m* ~ P^{exponent_text(row.d_m)}."
        )
    sentences.append(
        "Local exponents d ln size / d ln P of the law's optimum; d_m ~ √N means that the d_m exponent is half of N's."
    )
    columns = ("at P", "k_c", "N*", "95 %", "k_e*", "95 %", "d_m*", "95 %")
    return Section("exponents", title, sentences, [Table(columns, rows, keys=2)])


def exponent_text(estimate: Estimate) -> str:
    """An exponent with its interval."""
    if isinstance(estimate, NoInterval):
        return f"(unknown: {estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.estimate:.2f} (no interval)"
    return f"{estimate.estimate:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def held_out(group: Group) -> Section:
    """Errors of the laws on rows that they were not fitted to."""
    title = "Held-out largest budget"
    if group.evidence is None:
        return Section("held-out", title, [_not_computed(group)], [])
    errors: HeldOutErrors = group.evidence.held_out
    sentences, tables = [], []
    # They are sorted by error, those that could not be fitted last.
    if errors.budget and errors.budget[0].rmse is not None:
        best = errors.budget[0]
        sds = "" if best.seed_sds is None else f" ({best.seed_sds:.2g} times the seed noise)"
        sentences.append(f"The largest budget is predicted best by {best.label}: RMSE {best.rmse:.3g}{sds}.")
    for rows, reason, what in (
        (errors.budget, errors.budget_reason, "largest budget"),
        (errors.k_e, errors.k_e_reason, "each k_e in turn"),
    ):
        if rows is not None:
            tables.append(_errors(rows))
        else:
            sentences.append(f"Without {what}: {reason}.")
    return Section("held-out", title, sentences, tables)


def _errors(rows: Sequence[HeldOut]) -> Table:
    cells = [(row.label, row.held, row.rows, row.rmse, row.seed_sds, row.bias, row.reason or "") for row in rows]
    return Table(("law", "left out", "runs", "RMSE", "in seed noises", "bias", "note"), cells)


def fixed_values(group: Group) -> list[Section]:
    """The law with measured values fixed beside the free one; no section where nothing was measured."""
    found, title = group.fixed, "Measured before fitted"
    if found is None:
        return []
    if isinstance(found, Refusal):
        return [Section("fixed", title, [f"Not fitted: {found.reason}."], [])]
    sentences = [f"{row.parameter} = {row.value:.4g}: {row.source}." for row in found.values]
    sentences.append(found.sentence)
    if found.held_out_reason is not None:
        sentences.append(f"Without the largest budget: {found.held_out_reason}.")
    sentences += [f"Without the largest budget, {row.name}: {row.held_out_reason}." for row in found.laws
                  if row.held_out_reason is not None]  # fmt: skip
    cells = [
        (row.name, ", ".join(f"{name} {value:.3g}" for name, value in row.values.items()), row.p, row.aicc, row.rmse,
         row.held_out, row.held_out_sds)
        for row in found.laws
    ]  # fmt: skip
    columns = ("law", "values", "parameters", "AICc", "RMSE", "RMSE held out", "in seed noises")
    return [Section("fixed", title, sentences, [Table(columns, cells)])]


def calibration(group: Group) -> Section:
    """Coverage of the intervals, measured by simulating this design."""
    title = "Calibration on this design"
    coverage = None if group.evidence is None else group.evidence.calibration
    if coverage is None or isinstance(coverage, Refusal):
        # Without evidence the reason is that of the whole report, else that there was no interval to calibrate.
        missing = _not_computed(group) if group.evidence is None else "Not computed: no interval to calibrate."
        return Section("calibration", title, [missing if coverage is None else coverage.reason], [])
    rows = [(r.quantity, r.truth, r.coverage, r.coverage_se, r.bias, r.width) for r in coverage.rows]
    columns = ("quantity", "truth simulated", "coverage", "±", "bias", "median width")
    sentences = [coverage.sentence, "Bias and width are relative for positive quantities."]
    return Section("calibration", title, sentences, [Table(columns, rows)])


def residuals(group: Group) -> Section:
    """What the law misses, against the noise between seeds."""
    if group.evidence is None:
        return Section("residuals", "Residuals", [_not_computed(group)], [])
    misses = group.evidence.residuals
    at, fit = misses.largest_at, misses.lack_of_fit
    sentences = [
        f"Root mean square over means {misses.rms:.3g}; largest {misses.largest:+.3g} at N = {at.n_rec:g}, "
        f"k_e = {at.k_e:g}, P = {at.trainable_params:,.0f}.",
        "Lack of fit cannot be tested: no replicates." if fit is None else f"Lack of fit: {fit.sentence}",
    ]
    return Section("residuals", "Residuals", sentences, [])


def sensitivity(group: Group) -> Section:
    """How optimum and parameters move with the analyst's choices."""
    title = "Sensitivity to choices"
    variants = () if group.evidence is None else group.evidence.sensitivity
    # Refused variants have no places, so the columns are read off one that was fitted.
    fitted = [variant for variant in variants if isinstance(variant, Variant)]
    if not fitted:
        return Section("sensitivity", title, [_not_computed(group)], [])
    places = fitted[0].d_m
    several = len({place.k_c for place in places}) > 1
    names = (f"d_m* at P = {p.budget:,.0f}" + (f", k_c {p.k_c:g}" if several else "") for p in places)
    rows: list[tuple[Cell, ...]] = []
    for variant in variants:
        if isinstance(variant, RefusedVariant):
            rows.append((variant.choice, *(None for _ in places), variant.reason))
            continue
        parameters = ", ".join(f"{name} {value:.3g}" for name, value in variant.parameters.items())
        rows.append((variant.choice, *(place.d_m or place.reason for place in variant.d_m), parameters))
    sentences = [_range_over(fitted, index, place) for index, place in enumerate(places)]
    return Section("sensitivity", title, sentences, [Table(("choice", *names, "parameters"), rows)])


def _range_over(variants: Sequence[Variant], index: int, place: VariantPlace) -> str:
    # How far the optimum moves over all choices is what a reader should remember from the table.
    values = [value for variant in variants if (value := variant.d_m[index].d_m) is not None]
    if not values:
        return f"Optimal d_m at P = {place.budget:,.0f}: not bracketed under any choice."
    where = f"P = {place.budget:,.0f} (k_c {place.k_c:g})"
    return f"Optimal d_m at {where}: {min(values):.3g} to {max(values):.3g} over all choices."
