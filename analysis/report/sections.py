"""The report for people: the JSON document as headed sections of sentences and tables, in reading order."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.html import Cell, none

Json = Mapping[str, Any]


class Table(NamedTuple):
    """One table of a section."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]


class Section(NamedTuple):
    """One part of the report."""

    id: str
    title: str
    sentences: list[str]
    tables: list[Table]


def group_sections(group: Json) -> list[Section]:
    """All sections of one group of rows.

    Args:
        group: an entry of the report's `groups`.
    """
    neuron = [_neuron(group)] if group["evidence"].get("neuron") else []
    return [
        _question(group),
        _data(group),
        _parameters(group),
        *neuron,
        _optima(group),
        _frontier(group),
        _exponents(group),
        _held_out(group),
        _rivals(group),
        _calibration(group),
        _residuals(group),
        _alarms(group),
        *_learning_rates(group),
        _axes(group),
        _sensitivity(group),
        _next(group),
    ]


def _question(group: Json) -> Section:
    law = group["law"]
    said = [group["question"]]
    said += (
        [f"Law: {law['law']['label']}. {law['formula']} It was {group['scale']}. {group['weights']['sentence']}"]
        if law
        else ["No law was fitted."]
    )
    said += [f"Cannot be concluded: {sentence}" for sentence in group["cannot_conclude"]]
    return Section("question", "Question and law", said, [])


def _data(group: Json) -> Section:
    data = group["data"]
    noise = data["seed_noise"]
    told = (
        f"{noise:.3g} ({data['seed_noise_freedom']} degrees of freedom)"
        if noise is not None
        else "unknown: one run each"
    )
    said = [
        f"{data['rows']} runs of {data['configurations']} configurations enter; column {group['metric']['column']}, "
        f"{group['metric']['direction']} is best. Seed noise: {told}.",
        f"Budgets: {_listed(data['budgets'])}; d_m: {_listed(data['d_m'])}; k_c: {_listed(data['k_c'])}; "
        f"seeds: {_listed(data['seeds'])}.",
    ]
    rows = [(entry["rule"], entry["why"], entry["rows"]) for entry in data["excluded"]]
    if not rows:
        said.append("No row was left out.")
    return Section("data", "Data", said, [Table(("left out by", "why", "rows"), rows)] if rows else [])


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:,.10g}" for value in values) if values else "none"


def _parameters(group: Json) -> Section:
    law, evidence = group["law"], group["evidence"]
    if law is None:
        return Section("parameters", "Parameters", ["None: " + "; ".join(group["refused"])], [])
    known = {row["quantity"]: row for row in evidence.get("parameters", [])}
    rows: list[tuple[Cell, ...]] = []
    for name, value in law["values"].items():
        interval = known.get(name, {})
        meaning = law["meanings"].get(name.split("[")[0], "")
        rows.append((name, value, interval.get("low"), interval.get("high"), interval.get("reason") or "", meaning))
    for key, coefficients in law["coefficients"].items():
        for name, value in coefficients.items():
            label = name if key == "all" else f"{name} ({key})"
            rows.append((label, value, None, None, "solved exactly for the others", law["meanings"].get(name, "")))
    said = [f"r = {law['pearson_r']:.4f}" if law["pearson_r"] is not None else "r is undefined"]
    said[0] += f", RMSE {law['rmse']:.4g}, {law['n']} runs, {law['p']} parameters."
    said += [f"{status['level']}: {status['sentence']}" for status in law["statuses"]]
    found = evidence.get("identifiability")
    said += [" ".join(found)] if isinstance(found, list) else [found["reason"]] if found else []
    if "draws" in evidence:
        draws = evidence["draws"]
        said.append(
            f"Intervals: 95 %, of the mean, the wider of delta method and {draws['asked']} residual bootstrap draws "
            f"({draws['failed']} failed)."
        )
    columns = ("parameter", "value", "low", "high", "note", "meaning")
    return Section("parameters", "Parameters", said, [Table(columns, rows)])


def _neuron(group: Json) -> Section:
    found = group["evidence"]["neuron"]
    title = "Noise law of single neurons"
    if "reason" in found:
        return Section("neuron", title, [f"Not fitted: {found['reason']}."], [])
    rows = [
        tuple(form[name] for name in ("form", "alpha", "alpha_se", "floor", "aicc", "delta")) for form in found["forms"]
    ]
    said = [f"Error = {found['error']}, as a law of k_e, by AICc; every row is one neuron."]
    return Section("neuron", title, said, [Table(("form", "alpha", "± (se)", "floor", "AICc", "Δ"), rows)])


def _optima(group: Json) -> Section:
    rows: list[tuple[Cell, ...]] = []
    known = {(row["budget"], row["k_c"]): row for row in group["evidence"].get("optimum_intervals", [])}
    for row in group["optima"]:
        best, theory = row["measured"], row["theory"]
        found = known.get((row["budget"], row["k_c"]), {})
        bracketed = theory is not None and theory["bracketed"]
        rows.append(
            (
                none(row["budget"]),
                none(row["k_c"]),
                none(best["n_rec"]),
                none(best["d_m"]),
                none(best["k_e"]),
                best["metric"],
                "1 run, no interval" if best["half_width"] is None else best["half_width"],
                _range(row["as_good"]["d_m"]),
                theory["n_rec"] if bracketed else None,
                theory["d_m"] if bracketed else None,
                _interval(found.get("d_m")) if bracketed else "not bracketed",
                _range(theory["band"]) if bracketed else f"extend: {theory['extend']}" if theory else None,
                row["bracket"],
            )
        )
    measured = ("P", "k_c", "N*", "d_m*", "k_e*", "metric", "± 95 %", "d_m as good")
    columns = (*measured, "law N*", "law d_m*", "law d_m* 95 %", "law d_m as good", "bracketed")
    rule = group["optima"][0]["as_good"]["rule"] if group["optima"] else ""
    said = (
        [f"Measured optimum: the best mean; as good: {rule}.", "Law: whole numbers that fit the budget."]
        if rule
        else []
    )
    said += [] if rows else ["No rows have a budget: no optimum at equal size."]
    return Section("optima", "Best split of each budget", said, [Table(columns, rows)] if rows else [])


def _range(pair: Any) -> str | None:
    return None if pair is None else f"{pair[0]:g} to {pair[1]:g}"


def _interval(row: Json | None) -> str | None:
    if row is None:
        return None
    if row["low"] is None:
        return row.get("reason") or "none"
    return f"{row['low']:.3g} to {row['high']:.3g}"


def _frontier(group: Json) -> Section:
    found = group["evidence"].get("frontier")
    if not found:
        return Section("frontier", "Frontier", ["Not computed: no law."], [])
    rows = [(none(size), value) for size, value in zip(found["sizes"], found["metric"], strict=True)]
    law = found.get("power_law")
    if law:
        interval = law["interval"][0] if isinstance(law["interval"], list) else None
        told = f" (95 %: {_interval(interval)})" if interval else ""
        said = [f"metric = {law['E']:.5g} + {law['A']:.4g} (P / {law['p_ref']:.4g})^-{law['exponent']:.4g}{told}."]
        said += [status["sentence"] for status in law["statuses"] if status["level"] in ("warning", "error")]
    else:
        said = [f"No power law through the frontier: {found['power_law_reason']}."]
    said.append(found["regime"]["sentence"])
    return Section("frontier", "Frontier", said, [Table(("P", "best metric"), rows)])


def _exponents(group: Json) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for row in group["evidence"].get("exponents", []):
        cells: list[Cell] = [none(row["budget"]), none(row["k_c"])]
        for axis in ("n_rec", "k_e", "d_m"):
            cells += [row[axis]["estimate"], _interval(row[axis])]
        rows.append(tuple(cells))
    said = [
        "Local exponents d ln size / d ln P of the law's optimum; d_m ~ √N means that the d_m exponent is half of N's."
    ]
    if not rows:
        said = [group["evidence"].get("intervals_reason", "Not computed: no law, or a quick report.")]
    columns = ("at P", "k_c", "N*", "95 %", "k_e*", "95 %", "d_m*", "95 %")
    return Section("exponents", "Scaling exponents", said, [Table(columns, rows)] if rows else [])


def _held_out(group: Json) -> Section:
    found = group["evidence"].get("held_out", {})
    said, tables = [], []
    for key, title in (("budget", "largest budget"), ("k_e", "each k_e in turn")):
        if key in found:
            rows = [
                (row["label"], row["held"], row["rows"], row["rmse"], row["seed_sds"], row["bias"], row["reason"] or "")
                for row in found[key]
            ]
            columns = ("law", "left out", "runs", "RMSE", "in seed noises", "bias", "note")
            tables.append(Table(columns, rows))
        elif f"{key}_reason" in found:
            said.append(f"Without {title}: {found[f'{key}_reason']}.")
    if "budget" in found and found["budget"][0]["rmse"] is not None:
        best = found["budget"][0]
        sds = "" if best["seed_sds"] is None else f" ({best['seed_sds']:.2g} times the seed noise)"
        said.insert(0, f"The largest budget is predicted best by {best['label']}: RMSE {best['rmse']:.3g}{sds}.")
    return Section("held-out", "Held-out largest budget", said or ["Not computed: no law."], tables)


def _rivals(group: Json) -> Section:
    rows = [
        (
            ("★ " if row["chosen"] else "") + row["label"],
            row["p"],
            row["aicc"],
            row["delta"],
            row["pearson_r"],
            row["rmse"],
            ", ".join(row["warnings"]),
        )
        for row in group["rivals"]
    ]
    said = [group["verdict"]] if group["verdict"] else []
    said += [f"Not fitted: {reason}" for reason in group["refused"]]
    columns = ("law (★ = reported)", "parameters", "AICc", "Δ", "r", "RMSE", "warnings")
    return Section("rivals", "Rival laws", said, [Table(columns, rows)] if rows else [])


def _calibration(group: Json) -> Section:
    found = group["evidence"].get("calibration")
    if not found or "reason" in found:
        return Section("calibration", "Calibration on this design", [found["reason"] if found else "Not computed."], [])
    rows = [
        (row["quantity"], row["truth"], row["coverage"], row["coverage_se"], row["bias"], row["width"])
        for row in found["rows"]
    ]
    columns = ("quantity", "truth simulated", "coverage", "±", "bias", "median width")
    said = [found["sentence"], "Bias and width are relative for positive quantities."]
    return Section("calibration", "Calibration on this design", said, [Table(columns, rows)])


def _residuals(group: Json) -> Section:
    found = group["evidence"].get("residuals")
    if not found:
        return Section("residuals", "Residuals", ["Not computed: no law."], [])
    at = found["largest_at"]
    said = [
        f"Root mean square over means {found['rms']:.3g}; largest {found['largest']:+.3g} at N = {at['n_rec']:g}, "
        f"k_e = {at['k_e']:g}, P = {at['trainable_params']:,.0f}."
    ]
    fit = found["lack_of_fit"]
    said.append(f"Lack of fit: {fit['sentence']}" if fit else "Lack of fit cannot be tested: no replicates.")
    return Section("residuals", "Residuals", said, [])


def _alarms(group: Json) -> Section:
    rows = [
        (a["kind"], none(a["budget"]), none(a["d_m"]), none(a["n_rec"]), a["why"], len(a["trial_ids"]))
        for a in group["alarms"]
    ]
    tables = [Table(("alarm", "P", "d_m", "N", "why", "runs"), rows)] if rows else []
    effects = []
    for row in group["evidence"].get("flagged", []):
        change = ", ".join(f"{name} {100 * value:+.1f} %" for name, value in (row["change"] or {}).items())
        effects.append((row["reason"], row["rows"], change or row["note"] or ""))
    if effects:
        tables.append(Table(("without rows flagged as", "rows", "parameters move by"), effects))
    return Section("alarms", "Confound alarms", [] if rows else ["No alarm."], tables)


def _learning_rates(group: Json) -> list[Section]:
    """The section on learning rates; none where every design point was run with one."""
    found = group.get("learning_rates")
    if not found:
        return []
    rows: list[tuple[Cell, ...]] = []
    for row in found["points"]:
        told = ", ".join(f"{other['rate']:g}: {other['metric']:.5g}" for other in row["others"])
        lost = ", ".join(f"{rate:g}" for rate in row["diverged"])
        rows.append((none(row["size"]), none(row["d_m"]), row["n_rec"], row["best"], row["metric"], told, lost))
    columns = ("P", "d_m", "N", "chosen rate", "metric", "metric at other rates", "diverged at")
    return [Section("learning-rates", "Learning rates", found["sentences"], [Table(columns, rows)])]


def _axes(group: Json) -> Section:
    found = group["axes"]
    rows: list[tuple[Cell, ...]] = [
        (r["axis"], r["levels"], "–" if r["levels"] < 2 else r["vif"]) for r in found["inflation"]
    ]
    tables = [Table(("axis", "values", "variance inflation of ln axis"), rows)]
    pairs = [(r["first"], r["second"], r["correlation"]) for r in found["correlations"]]
    if pairs:
        tables.append(Table(("axis", "axis", "correlation of the logarithms"), pairs))
    terms = [
        (f"{r['first']} × {r['second']}", r["coefficient"], r["half_width"], r["delta_aicc"])
        for r in found["interactions"]
    ]
    if terms:
        tables.append(Table(("interaction", "coefficient", "± 95 %", "AICc gain"), terms))
    return Section("axes", "Are the axes told apart?", found["sentences"], tables)


def _sensitivity(group: Json) -> Section:
    found = group["evidence"].get("sensitivity", [])
    if not found:
        return Section("sensitivity", "Sensitivity to choices", ["Not computed: no law."], [])
    places = [(row["budget"], row["k_c"]) for row in found[0]["d_m"]]
    columns = (
        "choice",
        *(
            f"d_m* at P = {budget:,.0f}" + (f", k_c {k_c:g}" if len({k for _, k in places}) > 1 else "")
            for budget, k_c in places
        ),
    )
    rows: list[tuple[Cell, ...]] = []
    for row in found:
        if "reason" in row:
            rows.append((row["choice"], *(None for _ in places), row["reason"]))
            continue
        told = ", ".join(f"{name} {value:.3g}" for name, value in row["parameters"].items())
        rows.append((row["choice"], *(place["d_m"] or place["reason"] for place in row["d_m"]), told))
    said = [_spread(found, index, place) for index, place in enumerate(places)]
    return Section("sensitivity", "Sensitivity to choices", said, [Table((*columns, "parameters"), rows)])


def _spread(found: list[Json], index: int, place: tuple[float, float]) -> str:
    values = [row["d_m"][index]["d_m"] for row in found if "reason" not in row and row["d_m"][index]["d_m"] is not None]
    if not values:
        return f"Optimal d_m at P = {place[0]:,.0f}: not bracketed under any choice."
    where = f"P = {place[0]:,.0f} (k_c {place[1]:g})"
    return f"Optimal d_m at {where}: {min(values):.3g} to {max(values):.3g} over all choices."


def _next(group: Json) -> Section:
    rows = [(row["what"], row["why"], row["trials"], row["hours"]) for row in group["next"]]
    tables = [Table(("what", "why", "trials", "hours of trial time"), rows)]
    design, said = group["evidence"].get("design", {}), []
    if "reason" in design:
        said = [f"The law chooses no runs: {design['reason']}."]
    elif design:
        said = [f"The law's choice narrows {design['target']} (sd now {design['sd_now']:.2g}).", *design["sentences"]]
        picks = [
            (none(p["budget"]), none(p["d_m"]), none(p["n_rec"]), p["why"], p["sd_after"], p["hours"])
            for p in design["picks"]
        ]
        tables.append(Table(("P", "d_m", "N", "chosen for", "sd afterwards", "hours"), picks))
    return Section("next", "Next experiments", said, tables)


def joint_section(entry: Json) -> Section:
    """One joint fit over the levels of a setting.

    Args:
        entry: an entry of the report's `joint`.
    """
    told = ", ".join(f"{row['level']} ({row['rows']} runs of {row['configurations']})" for row in entry["levels"])
    said = [
        f"Groups like {entry['family']}, fitted together with {entry['law'] or 'no law'}; levels: {told or 'none'}."
    ]
    if entry["left_out"]:
        names = ", ".join(f"{row['level']} ({row['configurations']} configurations)" for row in entry["left_out"])
        said.append(f"Left out for want of configurations: {names}.")
    said += entry["sentences"]
    said += [entry["weights"]] if "weights" in entry else []
    columns = ("parameter", "level", "value", "95 % from", "to", "note", "fit in which it varies")
    rows: list[tuple[Cell, ...]] = [
        (
            row["parameter"],
            f"{row['setting']} {row['level']}",
            row["value"],
            row["low"],
            row["high"],
            row["reason"] or "",
            row["model"],
        )
        for row in entry["parameters"]
    ]
    keys = ("p", "aicc", "delta", "rmse", "f", "p_value", "p_holm")
    models: list[tuple[Cell, ...]] = [
        (row["model"], *(row[key] for key in keys), ", ".join(row["warnings"])) for row in entry["models"]
    ]
    titles = ("what varies", "parameters", "AICc", "Δ", "RMSE", "F", "p", "p (Holm)", "warnings")
    tables = [Table(columns, rows)] if rows else []
    tables += [Table(titles, models)] if models else []
    if models:
        said.append(
            "F and p: against the fit in which everything is shared (or, for parts of a fit, against the whole)."
        )
    return Section("joint", f"Joint fit over {entry['setting']}", said, tables)


def provenance_section(provenance: Json) -> Section:
    """Where the numbers come from and how to make them again."""
    rows: list[tuple[Cell, ...]] = [(f"rows: {name}", value) for name, value in provenance["rows_sha256"].items()]
    rows += [(f"grid: {name}", value) for name, value in provenance["grids_sha256"].items()]
    rows.append(("schema version", str(provenance["schema_version"])))
    rows.append(("code versions of the trials", ", ".join(provenance["code_versions"])))
    rows += [(f"metric {name}", str(value)) for name, value in provenance["measure"].items()]
    rows.append(("rows where", provenance["where"] or "all"))
    rows.append(("joint fits over", ", ".join(provenance["vary"]) or "every setting that differs"))
    rows += [(f"fit {name}", str(value)) for name, value in provenance["fit"].items()]
    rows += [(f"evidence {name}", str(value)) for name, value in (provenance["evidence"] or {}).items()]
    rows += [
        (f"version of {name}", value or "not installed as a distribution")
        for name, value in provenance["versions"].items()
    ]
    said = ["`analysis verify` on this file recomputes every number from the rows and compares."]
    return Section("provenance", "Provenance", said, [Table(("what", "value"), rows)])
