"""What every study says in the end: answers with a verdict each, and the pages that show them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """One question and what the rows say to it."""

    question: str
    verdict: str
    sentence: str
    numbers: dict[str, Any]


def interval_text(interval: tuple[float, float, float]) -> str:
    """A value with its interval, for sentences.

    >>> interval_text((0.5, 0.25, 0.75))
    '0.50 (0.25 to 0.75)'
    """
    return f"{interval[0]:.2f} ({interval[1]:.2f} to {interval[2]:.2f})"


def markdown(title: str, by_task: Mapping[str, Sequence[Answer]]) -> str:
    """All verdicts in one table, then the numbers of each task in one of its own."""
    # The overview comes first, because it is what the page of the study shows.
    parts = [f"# {title}", overview(by_task)]
    for name, answered in by_task.items():
        lines = [f"## {name}", "", "| question | verdict | numbers |", "|---|---|---|"]
        lines += [f"| {a.question} | **{a.verdict}** | {a.sentence} |" for a in answered]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def overview(by_task: Mapping[str, Sequence[Answer]]) -> str:
    """The verdicts of all tasks beside each other, one question per line."""
    verdicts = {name: {answer.question: answer.verdict for answer in answered} for name, answered in by_task.items()}
    questions = dict.fromkeys(question for answered in verdicts.values() for question in answered)
    lines = [f"| question | {' | '.join(by_task)} |", "|---|" + "---|" * len(by_task)]
    lines += [f"| {q} | {' | '.join(verdicts[name].get(q, '-') for name in by_task)} |" for q in questions]
    return "\n".join(lines)
