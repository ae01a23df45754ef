"""Joint fits over ablations: groups that differ in one setting share the law's parameters, but for those that vary.

As in the paper's fit of seven experiments: one affine map to the metric, reference parameters shared by all rows, one
value per level for the parameters an ablation moves. Every number comes from `theory`; results are plain JSON values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.errors import AnalysisError
from analysis.laws.joint_entry import SHARED, Json, in_order, write_models
from analysis.laws.law_choice import LawChoice
from analysis.laws.theory_fit import NUMERICAL, FitSettings, design_of, one_line, scaled
from analysis.laws.view import View
from analysis.rows.sweep import DESIGN_POINT, IDENTITY
from analysis.rows.weights import Weighting, weigh
from cluster.errors import unknown_name
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.result import Direction, FitResult
from theory.laws.base import Law

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

WITHIN = ("k_c", "d_tree", "d_branch")
"""Settings that may differ within one group; the first that does is compared without being asked for."""

MIN_CONFIGURATIONS = 3
"""Fewest configurations of a level that can say anything about it. Assumption."""

SHIFTED = "a, b per level"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Groups of one task, data, metric and architecture, as one table."""

    label: str
    """Label of the largest group, whose settings the others are compared with."""
    rows: pd.DataFrame
    """Rows of all groups that enter fits, with the settings that differ as text columns."""
    reference: dict[str, str]
    """Settings of the largest group that other groups do not share."""
    law: LawChoice | None
    """The law chosen for the largest group; None where none was fitted."""
    direction: str
    """`min` or `max`."""
    values: FloatArray
    """Metric of each row on the fitted scale."""
    scale: str
    """That scale as a sentence."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Settings by which levels can be told apart."""
        # networks without d_m are sized by n_rec alone: their k_c follows from it and is no setting
        free = self.rows["d_m"].notna().any()
        within = [name for name in WITHIN if free and self.rows[name].nunique() > 1]
        return (*self.reference, *within)


def joint_fits(views: Sequence[View], vary: Sequence[str], settings: FitSettings) -> list[Json]:
    """Fit every family of groups jointly.

    Args:
        views: all groups of the report.
        vary: settings (``tau_m_max``), or parameters with the setting that moves them (``alpha=tau_m_max``), which are
            then fitted together; a parameter that is named with several settings has one value for each combination of
            them that was run. Empty for every setting that differs.
        settings: how to fit.

    Returns:
        One entry per family and setting; empty where nothing differs.

    Raises:
        AnalysisError: a name in `vary` is unknown.
    """
    # Names are checked before anything is fitted: joint fits take minutes, and a typing error should not.
    compared = families(views)
    known = sorted({name for family in compared for name in family.settings})
    pairs = _pairs(vary)
    named_settings = list(dict.fromkeys(item for item in vary if "=" not in item))
    moving = list(dict.fromkeys(name for names in pairs.values() for name in names))
    for name in [*named_settings, *moving]:
        if not known:
            raise AnalysisError(f"--vary {name}: no two groups of these rows differ in a setting")
        if name not in known:
            raise AnalysisError(unknown_name("--vary", name, known))
    entries = []
    for family in compared:
        # A family that does not vary one of the settings has no levels for it and is passed over.
        if pairs and set(moving) <= set(family.settings):
            entries.append(_or_reason(family, ", ".join(moving), partial(_together, family, pairs, settings)))
        # By default one setting of the connectivity: k_c is the product of the other two, so that they would mostly be
        # the same comparison again.
        automatic = () if vary else (*family.reference, *[n for n in family.settings if n in WITHIN][:1])
        for name in named_settings or automatic:
            if name in family.settings:
                entries.append(_or_reason(family, name, partial(_one_setting, family, name, settings)))
    return entries


def _pairs(vary: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The settings that each named parameter varies with, in the order in which they were named.

    >>> _pairs(["alpha=tau_m_max", "beta=k_c", "rho_rec", "alpha=l_mlp", "beta=k_c"])
    {'alpha': ('tau_m_max', 'l_mlp'), 'beta': ('k_c',)}
    """
    pairs: dict[str, tuple[str, ...]] = {}
    for parameter, _, name in (item.partition("=") for item in vary if "=" in item):
        known = pairs.get(parameter, ())
        pairs[parameter] = known if name in known else (*known, name)
    return pairs


def _or_reason(family: Family, setting: str, compute: Callable[[], Json]) -> Json:
    """An entry, or one that only says why it could not be computed: joint fits come last and must not cost the rest."""
    try:
        return compute()
    except NUMERICAL as error:
        entry = _empty(family, setting)
        entry["sentences"].append(f"No joint fit: it could not be computed: {one_line(error)}")
        return entry


def _empty(family: Family, setting: str) -> Json:
    """An entry in which nothing is written down yet."""
    lists: Json = {name: [] for name in ("levels", "left_out", "models", "parameters", "sentences")}
    law = None if family.law is None else family.law.text
    return {"family": family.label, "setting": setting, "scale": family.scale, "law": law} | lists


def families(views: Sequence[View]) -> list[Family]:
    """Put groups together that differ in settings alone, largest group first."""
    by_identity: dict[tuple[str, ...], list[View]] = {}
    for view in views:
        if len(view.data.rows):
            by_identity.setdefault(tuple(view.data.keys[name] for name in IDENTITY), []).append(view)
    return [_family(group) for group in by_identity.values()]


def _family(group: Sequence[View]) -> Family:
    # The largest group is the reference, because its law is known best.
    first = max(group, key=lambda view: len(view.data.rows))
    reference = {name: value for name, value in first.data.keys.items() if name not in IDENTITY}
    parts = [
        view.data.rows.assign(
            # Each group numbers its configurations from 0; with the label before them they stay different.
            configuration=f"{view.data.label}/" + view.data.rows["configuration"].astype(str),
            **{name: view.data.keys.get(name, "none") for name in reference},
        )
        for view in group
    ]
    whole = replace(first.data, rows=pd.concat(parts, ignore_index=True))
    # Scaled together: levels on different scales could not share a law.
    scale, rows, _ = scaled(whole)
    fit = first.law.fit
    names = [name for name, candidate in first.law.fits.items() if candidate is fit] if fit is not None else []
    return Family(
        label=first.data.label,
        rows=rows.reset_index(drop=True),
        reference=reference,
        # a law with its own exponent in k_c would explain the difference that levels of k_c are compared for
        law=LawChoice.read(names[0]).without("connectivity") if names else None,
        direction="max" if scale.name == "logit" else first.data.direction,
        values=scale.to(rows["value"].to_numpy(float)),
        scale=scale.sentence,
    )


def _one_setting(family: Family, name: str, settings: FitSettings) -> Json:
    """Compare levels of one setting, all other settings as in the largest group; each parameter varies in turn."""
    keep = np.ones(len(family.rows), dtype=bool)
    for other, value in family.reference.items():
        # One setting at a time: with two that differ nobody could say which of them moved a parameter.
        if other != name:
            keep &= (family.rows[other] == value).to_numpy()
    entry, labels, keep = _levels(family, name, keep)
    design, values = _design(family, keep, {name: labels}), family.values[keep]
    law = _law(family, design, entry)
    if law is None:
        return entry
    searched = [parameter.name for parameter in law.parameters]
    # Besides each parameter in turn the affine map may vary: a setting that only makes the task easier changes the
    # levels of the metric and no parameter of the law.
    models: dict[str, Json] = {SHARED: {}, **{p: {"vary": {p: name}} for p in searched}, SHIFTED: {"groups": name}}
    # Of these rows alone: weights of rows that are left out would change the mean weight.
    weighting = weigh(family.rows[keep], values, settings.weights)
    fits = _fit_all(law, design, values, models, family.direction, settings, weighting, entry)
    write_models(entry, fits, {p: p for p in searched} | {SHIFTED: SHIFTED}, name)
    return entry


def _together(family: Family, named: Mapping[str, tuple[str, ...]], settings: FitSettings) -> Json:
    """One fit in which all named parameters vary with their settings, and what each of them adds."""
    keep = np.ones(len(family.rows), dtype=bool)
    entry = _empty(family, ", ".join(dict.fromkeys(name for names in named.values() for name in names)))
    # Several settings of one parameter become one covariate, whose levels are the combinations that were run.
    pairs = {parameter: ", ".join(names) for parameter, names in named.items()}
    labels: dict[str, npt.NDArray[np.str_]] = {}
    for parameter, column in pairs.items():
        if column in labels:
            continue
        texts = [family.rows[name].map(_text) for name in named[parameter]]
        labels[column] = np.array([", ".join(level) for level in zip(*texts, strict=True)])
        for level in in_order(set(labels[column])):
            parts = zip(named[parameter], level.split(", "), strict=True)
            at_level = family.rows[labels[column] == level]
            entry["levels"].append(_level(", ".join(f"{name} {value}" for name, value in parts), at_level))
    design = _design(family, keep, labels)
    law = _law(family, design, entry)
    if law is None:
        return entry
    searched = [parameter.name for parameter in law.parameters]
    # Only now: which parameters are searched is known once the law is bound to the rows.
    for parameter in pairs:
        if parameter not in searched:
            place = f"--vary {parameter}={named[parameter][0]}: parameter"
            raise AnalysisError(unknown_name(place, parameter, searched))
    whole = "all named vary"
    models: dict[str, Json] = {SHARED: {}, whole: {"vary": dict(pairs)}}
    # Each part is left out in turn, which tells whether it is needed beside the others.
    if len(pairs) > 1:
        models |= {f"{p} shared": {"vary": {q: n for q, n in pairs.items() if q != p}} for p in pairs}
    weighting = weigh(family.rows, family.values, settings.weights)
    fits = _fit_all(law, design, family.values, models, family.direction, settings, weighting, entry)
    write_models(entry, fits, {whole: whole}, entry["setting"], whole=whole)
    return entry


def _levels(family: Family, name: str, keep: Mask) -> tuple[Json, npt.NDArray[np.str_], Mask]:
    """Describe the levels; those with too few configurations are left out and named."""
    text = family.rows[name].map(_text).to_numpy(str)
    entry = _empty(family, name)
    for level in in_order(set(text[keep])):
        at_level = keep & (text == level)
        row = _level(level, family.rows[at_level])
        if row["configurations"] < MIN_CONFIGURATIONS:
            entry["left_out"].append(row)
            keep = keep & ~at_level
        else:
            entry["levels"].append(row)
    return entry, text[keep], keep


def _level(name: str, rows: pd.DataFrame) -> Json:
    return {"level": name, "rows": len(rows), "configurations": len(rows[list(DESIGN_POINT)].drop_duplicates())}


def _law(family: Family, design: Design, entry: Json) -> Law | None:
    """The law to fit, bound to the rows, or None with the reason written into the entry."""
    law = None
    if family.law is None:
        entry["sentences"].append("No joint fit: no law was fitted to the largest group.")
    elif len(entry["levels"]) < 2:
        entry["sentences"].append(
            f"No joint fit: fewer than two levels of {entry['setting']} have {MIN_CONFIGURATIONS} configurations with "
            "all other settings as in the largest group."
        )
    # Bound to all rows together, so that every level is measured by the same reference sizes.
    elif not (law := family.law.law().bind(design)).parameters:
        entry["sentences"].append(f"No joint fit: {law.label} has no searched parameter that could vary.")
        law = None
    return law


def _design(family: Family, keep: Mask, labels: Mapping[str, npt.NDArray[np.str_]]) -> Design:
    # `theory` lets a parameter vary with a covariate of the design, so that is what the levels become.
    return replace(design_of(family.rows[keep]), covariates=dict(labels))


def _fit_all(
    law: Law,
    design: Design,
    values: FloatArray,
    models: Mapping[str, Json],
    direction: str,
    settings: FitSettings,
    weighting: Weighting,
    entry: Json,
) -> dict[str, FitResult]:
    """Fit all models by least squares, whose likelihood the tests need; refusals become sentences."""
    entry["weights"] = weighting.sentence
    fits: dict[str, FitResult] = {}
    way: Direction = "max" if direction == "max" else "min"
    for name, more in models.items():
        try:
            fits[name] = fit_law(
                law,
                design,
                values,
                weights=weighting.values,
                direction=way,
                starts=settings.starts,
                seed=settings.seed,
                **more,
            )
        except TheoryError as error:
            entry["sentences"].append(f"Not fitted ({name}): {error}")
    return fits


def _text(value: object) -> str:
    # So that 500 and 500.0, as integer and float columns hold them, are one level.
    return f"{value:g}" if isinstance(value, (int, float, np.integer, np.floating)) else str(value)
