"""The page of the verdicts: the table of all answers, and line by line what stands already."""

from collections.abc import Mapping, Sequence

from studies.answers import Answer, markdown
from studies.interior_optimum.half import WAITS
from studies.interior_optimum.hypotheses import CONTRADICTED, NOT_DECIDED, PARTS, SUPPORTED

NOTE = """\
Verdicts above wait for all trials that they rest on. A single line (one P, or one P and one k_c) is *final* when all
trials of its budget have been run and no other line can change what it says by its part in Holm's correction; the rows
of a k_c that is added later would enter the seed noise of their budget as well. An *estimate* is an optimum with its
95 % interval, from which H2 takes its exponents. The value of a line that waits is what it would be so far."""


def page(by_task: Mapping[str, Sequence[Answer]]) -> str:
    """Everything that is known so far, as Markdown."""
    tables = [
        f"## Line by line, {name}\n\n" + table
        for name, answered in by_task.items()
        if (table := "\n".join(line_by_line(answered)))
    ]
    parts = [markdown("Verdicts of the second study", by_task)]
    if tables:
        parts.append("\n\n".join([NOTE, *tables]) + "\n")
    return "\n".join(parts)


def line_by_line(answered: Sequence[Answer]) -> list[str]:
    """A Markdown table of the lines of all answers; an answer without lines is one itself. Empty where no line is."""
    rows = []
    for answer in answered:
        parts = answer.numbers.get(PARTS)
        rows += [
            f"| {answer.question} | {part['place']} | {_state(part[WAITS])} | {part['verdict']} | {part['told']} |"
            for part in parts or []
        ]
        if parts is None and answer.verdict in (SUPPORTED, CONTRADICTED, NOT_DECIDED):
            rows.append(f"| {answer.question} | | **final** | {answer.verdict} | {answer.sentence} |")
    return ["| question | line | state | verdict | numbers |", "|---|---|---|---|---|", *rows] if rows else []


def _state(waits: str) -> str:
    return f"waiting: {waits}" if waits else "**final**"
