"""The command line of the analysis; everything heavy is imported by the command that needs it."""

import os
from typing import TYPE_CHECKING

import click

from analysis.cli_options import DIR, SPLITS, TABLES, fit_options, selection_options
from cluster.command_line import Group
from sweeper.cli_options import Within, debug_everywhere
from sweeper.errors import run_command
from sweeper.words import counted

if TYPE_CHECKING:
    from analysis.laws.findings import MeasuredValue
    from analysis.laws.theory_fit import FitSettings
    from analysis.rows.sweep import Selection
    from tasks.base import Split


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="elm-sweeper")
def cli() -> None:
    """From stored trials to a fitted law, a report and a dashboard.

    RESULTS is a directory made by `sweeper launch`, or a built-in table: published:enwik8, published:shd_adding,
    published:neuronio. It may stand alone or behind -r; `results` where none is named.
    """


@cli.command()
@DIR
@selection_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def summary(dir: str, selection: "Selection", as_json: bool) -> None:
    """Show a sweep on one screen: trials by status, best split per budget, hours, warnings."""
    # Imported by each command: pandas, scipy and the figures take longer to load than `--help` may take.
    from analysis.commands import fits

    fits.summary(dir, selection, as_json=as_json)


@cli.command("fit-theory")
@DIR
@fit_options
@selection_options
@click.option("--quick", is_flag=True, help="Leave out intervals, held-out fits, calibration and sensitivity.")
@click.option("--draws", default=600, show_default=True, type=Within("draws"), help="Bootstrap draws of intervals.")
@click.option(
    "--vary",
    multiple=True,
    metavar="SETTING | PARAMETER=SETTING",
    help="Joint fit over ablations: compare the levels of a setting such as tau_m_max or k_c, or let a parameter of "
    "the law vary with it (alpha=tau_m_max), all else shared; a parameter that is named with several settings has one "
    "value per combination. May be repeated; default: every setting that differs.",
)
@click.option(
    "--measured",
    multiple=True,
    metavar="FILE",
    help="Fit the law also with what was measured before fixed, and compare both: beta of recorded networks "
    "(activity.json of `analysis activity`), alpha of single neurons (fit.json of their rows), or both exponents of "
    "the law of another sweep, such as another task (its fit.json). May be repeated.",
)
@click.option(
    "--fix", multiple=True, metavar="PARAMETER=VALUE,...", help="Likewise with these values, such as alpha=0.95."
)
@click.option(
    "-o", "--output", help="Report file (.json and .html are written); default fit.json and fit.html in RESULTS."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def fit_theory(
    dir: str,
    selection: "Selection",
    settings: "FitSettings",
    quick: bool,
    draws: int,
    vary: tuple[str, ...],
    measured: tuple[str, ...],
    fix: tuple[str, ...],
    output: str | None,
    as_json: bool,
) -> None:
    """Fit the law and report it: parameters, optimum per budget, rivals, held-out error, what to run next."""
    from analysis.commands import fits
    from analysis.laws.evidence import EvidenceSettings
    from analysis.report.model import ReportSettings

    # One seed for starts, draws and simulations, so that a report is made again by the same command.
    evidence = None if quick else EvidenceSettings(draws=draws, seed=settings.seed)
    fixed: tuple[MeasuredValue, ...] = ()
    if measured or fix:
        # Only where it is asked for: the statistics behind it load longer than most commands take.
        from analysis.activity.exponents import measured_values

        fixed = measured_values(measured, fix)
    report_settings = ReportSettings(selection=selection, fit=settings, evidence=evidence, vary=vary, fixed=fixed)
    fits.fit_theory(dir, report_settings, output=output, as_json=as_json)


@cli.command()
@click.argument("report")
@click.option("--results", "-r", help="Where the rows are now; default: where the report says.")
def verify(report: str, results: str | None) -> None:
    """Recompute every number of a report (HTML or JSON) from the rows; exit code 1 if one differs."""
    from analysis.commands import fits

    if not fits.verify(report, results):
        # A report that does not hold fails in a script, as a test does.
        raise SystemExit(1)


@cli.command()
@DIR
@fit_options
@selection_options
@click.option("-o", "--output", help="HTML file; default dashboard.html in RESULTS.")
def dashboard(dir: str, selection: "Selection", settings: "FitSettings", output: str | None) -> None:
    """Write one self-contained HTML page: trade-off, scaling, surface, frontier, fit, runs."""
    from analysis.commands import pages

    path = pages.dashboard(dir, selection, settings, output)
    click.echo(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


@cli.command()
@DIR
@fit_options
@selection_options
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at; the default: this machine only."
)
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
def serve(dir: str, selection: "Selection", settings: "FitSettings", host: str, port: int) -> None:
    """Serve the dashboard, live, while trials finish. Read-only; stop it with Ctrl-C."""
    from analysis.commands import pages

    def ready(address: str) -> None:
        click.echo(f"serving {dir} at {address} (Ctrl-C stops)")

    pages.serve(dir, selection, settings, address=(host, port), ready=ready)


@cli.command()
@DIR
@click.option("--where", help='Trials to look at, for example "d_m >= 4 and seed == 0".')
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Whose sequences to run.")
@click.option("--sequences", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Sequences to run.")
@click.option("--steps", type=click.IntRange(64, 1_000_000), default=1000, show_default=True, help="Kept of each.")
@click.option("--burn-in", type=click.IntRange(0, 1_000_000), default=100, show_default=True, help="Steps before them.")
@click.option("--threshold", type=float, default=0.0, show_default=True, help="Activity above it counts as active.")
@click.option("-o", "--output", help="Files to write (.json and .html); default activity.json and .html in DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def activity(
    dir: str,
    where: str | None,
    split: "Split",
    sequences: int,
    steps: int,
    burn_in: int,
    threshold: float,
    output: str | None,
    as_json: bool,
) -> None:
    """Run saved networks over held-out sequences: rates, synchrony, spectra, timescales, how Gaussian the neurons are.

    \b
      training: {save: final}              in the grid: trials keep their weights
      analysis activity results/mine       one row per network, figures in results/mine/activity.html

    Of networks and single neurons with `learn_tau_m: true` it also shows the timescales before and after training.
    """
    from analysis.activity.collect import ActivitySettings
    from analysis.commands import networks

    settings = ActivitySettings(split=split, sequences=sequences, steps=steps, burn_in=burn_in, threshold=threshold)
    networks.activity(dir, where, settings, output=output, as_json=as_json)


@cli.command()
@DIR
@click.option("--where", help='Trials to look at, for example "d_m >= 4 and seed == 0".')
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Whose windows to run.")
@click.option("--windows", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Windows to run.")
@click.option("-o", "--output", help="Files to write (.json and .html); default residuals.json and .html in DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def residuals(dir: str, where: str | None, split: "Split", windows: int, output: str | None, as_json: bool) -> None:
    """Run saved networks of the task neuronio: how they miss the voltage, by voltage, after a spike, and by lag.

    \b
      training: {save: final}              in the grid: trials keep their weights
      analysis residuals results/mine      one row per network, figures in results/mine/residuals.html
    """
    from analysis.activity.collect import ResidualSettings
    from analysis.commands import networks

    networks.residuals(dir, where, ResidualSettings(split=split, windows=windows), output=output, as_json=as_json)


@cli.command()
@click.argument("dirs", nargs=-1, metavar="[DIR]...")
@click.option("--results", "-r", "more", multiple=True, metavar="DIR", help="One of them; may be repeated.")
@fit_options
@selection_options
@click.option("-o", "--output", help="Also write an HTML page of all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def compare(
    dirs: tuple[str, ...],
    more: tuple[str, ...],
    selection: "Selection",
    settings: "FitSettings",
    output: str | None,
    as_json: bool,
) -> None:
    """Put several sweeps (or published:NAME) side by side: optimum and best metric per budget."""
    from analysis.commands import fits

    if not (dirs or more):
        raise click.UsageError("name the results to compare, such as `analysis compare results/mine published:enwik8`")
    path = fits.compare((*dirs, *more), selection, settings, output=output, as_json=as_json)
    if path is not None and not as_json:
        click.echo(f"wrote {path}")


@cli.command()
@DIR
@click.option("--target", help='With --hours: such as "optimum at P=1e6", exponent, alpha; default: optimum.')
@click.option(
    "--hours",
    type=Within("hours", above_zero=True),
    help="Trial time to spend on runs of the most worth: hours on one lane.",
)
@click.option(
    "--step", type=click.IntRange(min=1), help="In place of --hours: the very runs of a next step, by its number."
)
@click.option("-o", "--output", help="Grid file to write, for `sweeper launch`; default: print it.")
@click.option("--name", help="Name of the new grid; default: that of RESULTS with -next.")
@selection_options
def suggest(
    dir: str,
    target: str | None,
    hours: float | None,
    step: int | None,
    output: str | None,
    name: str | None,
    selection: "Selection",
) -> None:
    """Write the next grid: a next step of the report, or the runs that narrow a target most within some hours.

    \b
      analysis suggest results/mine --step 1 -o next.yaml
      analysis suggest results/mine --target "optimum at P=1e6" --hours 20 -o next.yaml
      sweeper launch next.yaml -r results/mine
    """
    from analysis.commands import next_runs
    from analysis.laws.suggest import SuggestSettings

    if step is not None and target is not None:
        raise click.UsageError("--target goes with --hours: a step has runs of its own")
    if step is not None and hours is None:
        next_runs.suggest_step(dir, selection, step, name, output)
    elif hours is not None and step is None:
        next_runs.suggest(dir, selection, SuggestSettings(target=target or "optimum", hours=hours, name=name), output)
    else:
        raise click.UsageError("give either --hours or --step")


@cli.command("equal-work")
@DIR
@selection_options
def equal_work(dir: str, selection: "Selection") -> None:
    """Show the best d_m at equal operations of the forward pass beside that at equal P.

    For networks whose running cost counts and not their size. From the rows alone, without a law.
    """
    from analysis.commands import next_runs

    next_runs.equal_work(dir, selection)


@cli.command("learning-rate")
@DIR
@selection_options
def learning_rate(dir: str, selection: "Selection") -> None:
    """Fit a rule lr = scale n_rec^a d_m^b to a pilot with several learning rates per point; prints the line for a grid.

    \b
      training: {learning_rate: [0.003, 0.01, 0.03]}     the pilot, one or more seeds
      analysis learning-rate results/mine                the rule for the sweep
    """
    from analysis.commands import next_runs

    next_runs.learning_rate(dir, selection)


@cli.command("import")
@click.argument("source", metavar="FILE")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="OURS=THEIRS,...",
    help="Column of the table, or arithmetic of its columns, by our name; `metric` is the value that was measured. "
    "Columns that have our names are taken by them. May be repeated.",
)
@click.option("--task", help="What was learnt, for all rows; or --map task=COLUMN.")
@click.option("--direction", type=click.Choice(("min", "max")), help="Which way the metric improves.")
@click.option("--metric-name", help="Name of what was measured; default: that of its column.")
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="test",
    show_default=True,
    help="Split on which `metric` was measured.",
)
@click.option("--units", multiple=True, metavar="OURS=UNIT,...", help="Stored and shown; nothing is converted.")
@click.option("--settings", metavar="THEIRS,...", help="Columns whose values keep rows apart, such as an optimiser.")
@click.option(
    "--from",
    "kind",
    type=click.Choice(TABLES),
    default="table",
    show_default=True,
    help="Read FILE as an export of another tool; ray-results takes the experiment's folder.",
)
@click.option("--study", help="Of an optuna-storage that holds several.")
@click.option("-o", "--output", required=True, help="Directory to make.")
def import_(
    source: str,
    mapping: tuple[str, ...],
    task: str | None,
    direction: str | None,
    metric_name: str | None,
    split: str,
    units: tuple[str, ...],
    settings: str | None,
    kind: str,
    study: str | None,
    output: str,
) -> None:
    """Make rows of another tool's table (.csv, .parquet, .jsonl) readable by every command.

    \b
      analysis import runs.csv --map n_rec=width,metric=val_loss --task mine --direction min -o results/imported
      analysis fit-theory results/imported

    Columns that the table lacks stay empty. `n_rec` and `k_e` hold any two sizes that a law is to have exponents in.
    """
    from analysis.commands import tables
    from analysis.imports.mapping import ImportSettings, pairs

    how = ImportSettings(
        mapping=pairs("--map", mapping),
        task=task,
        direction=direction,
        metric_name=metric_name,
        split=split,
        units=pairs("--units", units),
        settings=tuple(filter(None, (name.strip() for name in (settings or "").split(",")))),
    )
    tables.import_table(source, how, kind=kind, study=study, output=output)


@cli.command()
@DIR
@fit_options
@selection_options
@click.option("-o", "--output", help="Write the rows to this file, ending in .parquet or .csv.")
@click.option("--figures", metavar="FOLDER", help="Draw all figures into this folder (needs an installed Chromium).")
@click.option(
    "--format",
    "kind",
    type=click.Choice(("svg", "png", "pdf")),
    default="svg",
    show_default=True,
    help="Of the figures.",
)
@click.option(
    "--theme", "mode", type=click.Choice(("light", "dark")), default="light", show_default=True, help="Of the figures."
)
@click.option("--only", multiple=True, help="Names of the figures to draw, such as 'isobudget-*'; may be repeated.")
@click.option("--list", "listed", is_flag=True, help="Print the names of all figures and draw none.")
@click.option("--width", default=800, show_default=True, type=click.IntRange(300, 4000), help="Of the figures, pixels.")
@click.option("--height", default=450, show_default=True, type=click.IntRange(200, 4000), help="Likewise.")
@click.option("--column", is_flag=True, help="For one column of a paper: 85 mm wide, labels of 8 points.")
def export(
    dir: str,
    selection: "Selection",
    settings: "FitSettings",
    output: str | None,
    figures: str | None,
    kind: str,
    mode: str,
    only: tuple[str, ...],
    listed: bool,
    width: int,
    height: int,
    column: bool,
) -> None:
    """Write the rows that enter a fit (the chosen metric as `value`), or all figures as SVG, PNG or PDF, or both."""
    from analysis.commands import tables
    from analysis.dashboard.export import Format

    # Without either nothing would be written, and a command that does nothing without a word is taken for one that
    # worked.
    if output is None and figures is None and not listed:
        raise click.UsageError(
            "say what to export: -o FILE for the rows, --figures FOLDER for the figures, --list for their names"
        )
    if listed and (output is not None or figures is not None):
        raise click.UsageError("--list writes nothing: give it without -o and --figures")
    if listed:
        for name in tables.figure_names(dir, selection, settings):
            click.echo(name)
        return
    if output is not None:
        count = tables.export(dir, selection, output)
        click.echo(f"wrote {output} ({counted(count, 'row')})")
    if figures is not None:
        how = Format.column(kind, mode) if column else Format(kind=kind, mode=mode, width=width, height=height)
        paths = tables.export_figures(dir, selection, settings, folder=figures, only=only, how=how)
        for path in paths:
            click.echo(f"wrote {path} ({path.stat().st_size / 1e3:.0f} kB)")


debug_everywhere(cli)


def main() -> None:
    """Entry point of the `analysis` command."""
    # Fits multiply matrices of a few columns, which a second thread makes no faster but busy: a sixth of the processor
    # time of `fit-theory`. OpenBLAS reads this when numpy loads, which no command has done yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run_command(cli)


if __name__ == "__main__":
    main()
