"""Exponents of the law from elsewhere: beta from the spectra of recorded networks, alpha from single neurons, or both
from the law that was fitted to another sweep, which asks whether they are the networks' own or the task's.

alpha cannot be had from saved networks. It is how the variance falls by which a neuron misses its ideal signal, and a
trained network holds no such signal: its neurons were given no targets, and what each of them is to say has been learnt
together with what it can say. Where neurons have a target (the task `neuronio`, architecture `elm_neuron`) it is the
exponent of their reducible error, which `analysis fit-theory` fits.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.activity.measures import SAMPLES_PER_NEURON
from analysis.errors import AnalysisError
from analysis.imports.mapping import pairs
from analysis.laws.findings import MeasuredValue
from cluster.errors import unknown_name
from theory.data.design import Design
from theory.laws.registry import get_law


def measured_values(files: Sequence[str], fixed: Sequence[str]) -> tuple[MeasuredValue, ...]:
    """Read what is to be fixed: values of files, and values that were typed.

    Args:
        files: ``activity.json`` of `analysis activity`, which gives beta; the report (JSON) of single neurons, which
            gives alpha; or the report of another sweep of networks, whose law gives both.
        fixed: ``name=value``, such as ``alpha=0.95``.

    Raises:
        AnalysisError: a file holds no measurement, a value is impossible, a name is unknown, or a parameter is given
            twice.
    """
    found = [value for file in files for value in _of_file(file)]
    # The law with the most parameters: whatever may be fixed in one of its variants. Names depend on no design.
    sizes = np.array([1.0, 2.0])
    law = get_law("effective_information", floor="additive", link="boxcox", connectivity=True)
    known = {parameter.name: parameter for parameter in law.bind(Design(n_rec=sizes, k_e=sizes, k_c=sizes)).parameters}
    for name, text in pairs("--fix", fixed).items():
        if name not in known:
            raise AnalysisError(unknown_name("--fix", name, known))
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value) or (known[name].log and value <= 0):
            raise AnalysisError(f"--fix {name}={text}: expected a number{' above 0' if known[name].log else ''}")
        found.append(MeasuredValue(parameter=name, value=value, source="given by --fix"))
    for name in {row.parameter for row in found}:
        several = [row for row in found if row.parameter == name]
        if len(several) > 1:
            values = " and ".join(f"{row.value:.4g} ({row.source})" for row in several)
            raise AnalysisError(f"--measured, --fix: {name} is given {len(several)} times, as {values}; give it once")
    return tuple(found)


def _of_file(file: str) -> list[MeasuredValue]:
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnalysisError(f"--measured {file}: cannot be read: {error}") from error
    if isinstance(document, dict) and document.get("networks"):
        return [_beta(file, document["networks"])]
    groups = document.get("groups", []) if isinstance(document, dict) else []
    for group in groups:
        forms = ((group.get("evidence") or {}).get("neuron") or {}).get("forms", [])
        # They are ranked; laws without an exponent have no alpha.
        if forms and forms[0].get("alpha") is not None:
            best = forms[0]
            spread = "" if best["alpha_se"] is None else f" ± {best['alpha_se']:.2g}"
            source = f"{best['form']} law of single neurons, {group['label']}{spread}, from {file}"
            return [MeasuredValue(parameter="alpha", value=float(best["alpha"]), source=source)]
    # Largest group first, as in the report.
    for group in groups:
        if transferred := _of_law(file, group):
            return transferred
    raise AnalysisError(
        f"--measured {file}: holds neither recorded networks (activity.json of `analysis activity`, for beta), nor a "
        "noise law of single neurons (fit.json of rows with one neuron each, for alpha), nor a usable law of "
        "effective information (fit.json of other networks, for both)"
    )


def _of_law(file: str, group: Mapping[str, Any]) -> list[MeasuredValue]:
    """alpha and beta of the law that was fitted to another group; empty where it has none that is usable."""
    fit = group.get("law")
    if not fit or fit["law"]["name"] != "effective_information" or not fit["usable"]:
        return []
    source = f"fitted to {group['label']} ({fit['law']['label']}), from {file}"
    return [
        MeasuredValue(parameter=name, value=float(fit["values"][name]), source=source) for name in ("alpha", "beta")
    ]


def _beta(file: str, networks: Sequence[Mapping[str, Any]]) -> MeasuredValue:
    """Mean exponent of the spectra of networks that were recorded long enough.

    Raises:
        AnalysisError: there is none.
    """
    try:
        long = [n for n in networks if n["spectrum"]["samples"] >= SAMPLES_PER_NEURON * n["n_rec"]]
        usable = [n for n in long if n["spectrum"]["exponent"] is not None]
        beta = np.array([n["spectrum"]["exponent"] for n in usable], dtype=float)
        growth = _growth(usable)
    except (KeyError, TypeError) as error:
        raise AnalysisError(f"--measured {file}: not as `analysis activity` writes it ({error!r})") from error
    if not len(beta):
        raise AnalysisError(
            f"--measured {file}: none of {len(networks)} recordings has {SAMPLES_PER_NEURON} independent samples for "
            "each neuron and a spectrum to fit, so that beta would look steeper than it is; record more --sequences or "
            "--steps"
        )
    mean = float(beta.mean())
    if mean <= 0:
        raise AnalysisError(f"--measured {file}: beta is {mean:.3g}, and the law wants a falling spectrum (above 0)")
    sizes = [int(n["n_rec"]) for n in usable]
    spread = f" ± {beta.std(ddof=1) / np.sqrt(len(beta)):.2g}" if len(beta) > 1 else ""
    left = f", {len(networks) - len(usable)} too short left out" if len(usable) < len(networks) else ""
    grows = "" if growth is None else f"; eigenvalues of one rank go as N^{growth:.2g}, where the law has N^0"
    source = f"spectra of {len(beta)} networks with N = {min(sizes)} to {max(sizes)}{spread}{left}{grows}, from {file}"
    return MeasuredValue(parameter="beta", value=mean, source=source)


def _growth(networks: Sequence[Mapping[str, Any]]) -> float | None:
    """How eigenvalues of equal rank go with N: the slope of their mean logarithm; None where N does not vary."""
    if len({n["n_rec"] for n in networks}) < 2:
        return None
    # Ranks that all of them have, within what the exponents are fitted to.
    first = max(n["spectrum"]["ranks"][0] for n in networks)
    last = min(n["spectrum"]["ranks"][1] for n in networks)
    if last < first:
        return None
    levels = [float(np.mean(np.log(_array(n["spectrum"]["eigenvalues"])[first - 1 : last]))) for n in networks]
    return float(stats.linregress(np.log([n["n_rec"] for n in networks]), levels).slope)


def _array(value: Any) -> npt.NDArray[np.float64]:
    """Numbers of a document, which are packed as Plotly packs arrays (`analysis.html.to_json`)."""
    if isinstance(value, Mapping):
        value = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
    return np.asarray(value, dtype=np.float64)
