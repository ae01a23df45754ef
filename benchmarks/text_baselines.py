"""`python -m benchmarks.text_baselines [DATA ...]`: what n-grams reach on texts, the yardsticks of the task `text`.

The models are those of `tasks.text.ngrams`. The order-1 column is where the baseline of a task specification
(tasks/text/spec.py) comes from.
"""

import itertools

import click

from tasks.loaders import load_task
from tasks.text.ngrams import witten_bell_bpc
from tasks.text.text import TextTask

VARIANTS: tuple[dict[str, str], ...] = ({}, {"newline": "drop"}, {"alphabet": "letters"})
"""options of the task whose yardsticks are printed"""
_ORDERS = (0, 1, 2)


@click.command()
@click.argument("data", nargs=-1)
def main(data: tuple[str, ...]) -> None:
    """Print bits per character of n-grams of order 0, 1 and 2 on the valid and test split of every variant.

    DATA is what a grid may give as `data` of the task `text`; the embedded text where nothing is given.
    """
    click.echo(f"{'data':<24} {'split':<6} characters" + "".join(f" order {order}" for order in _ORDERS))
    for source, options in itertools.product(data or ("embedded",), VARIANTS):
        task = load_task("text", {"data": source, **options})
        assert isinstance(task, TextTask)
        # The task's own symbols and splits, so that the yardstick is measured on exactly what networks read.
        train, *others = (task.ids(task.stream(split).characters) for split in ("train", "valid", "test"))
        for split, other in zip(("valid", "test"), others, strict=True):
            bpc = [witten_bell_bpc(train, other, order=order, n_symbols=task.spec.n_in) for order in _ORDERS]
            click.echo(
                f"{task.data_name:<24} {split:<6} {len(other):>10,}" + "".join(f" {value:>7.3f}" for value in bpc)
            )


if __name__ == "__main__":
    main()
