"""The words that pages explain when the mouse rests on them: one table for dashboard and report."""

import re
from html import escape

GLOSSARY = {
    "AICc": "Akaike's information criterion with the correction for few rows: smaller is better; within 2 is a tie, "
    "above 10 the larger one is not believable.",
    "Box-Cox": "A power transformation of the metric, with its exponent fitted, between the law's information and the "
    "metric.",
    "snr": "Signal-to-noise ratio of one channel: what a neuron's variable says, over its noise.",
    "I_rep": "Representation information: bits about the input that the law grants a network of this size.",
    "k_e": "Effective complexity: trained parameters of one neuron apart from its synapses.",
    "k_c": "Connectivity: trained synapses of one neuron.",
    "bpc": "Bits per character: the mean negative log2 probability of the right next character; smaller is better.",
    "mse": "Mean squared error of the predicted values; smaller is better.",
    "mae": "Mean absolute error of the predicted values; smaller is better.",
    "r2": "Share of the targets' variance that the predictions explain: 1 is perfect, 0 is what their mean reaches.",
    "RMSE": "Root of the mean squared difference between measurement and law.",
    "variance inflation": "How much wider an axis' interval is because the axes were varied together; above 10 they "
    "cannot be told apart.",
    "as good": "Configurations that the 95 % test cannot tell from the best of their budget.",
    "bracketed": "Worse values lie on both sides of the best one, so the optimum is inside the range that was run.",
}
"""What the words mean, each in one sentence."""

# Longer words come first, or a shorter one inside of them would win. The looks around keep words inside of longer names
# unmarked.
WORDS = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(GLOSSARY, key=len, reverse=True)))})(?![\w-])")


def explained(text: str) -> str:
    """Escape a text for HTML and mark the words of the glossary, so that their meaning shows on hover.

    >>> explained("k_e < 3")
    '<abbr title="Effective complexity: trained parameters of one neuron apart from its synapses.">k_e</abbr> &lt; 3'
    >>> explained("`sweeper status k_e` tells")
    '<code>sweeper status k_e</code> tells'
    """
    parts: list[str] = []
    marked: set[str] = set()
    # What stands between backticks is a command, in which a marked word would only be noise.
    for place, part in enumerate(text.split("`")):
        if place % 2:
            parts.append(f"<code>{escape(part)}</code>")
            continue
        end = 0
        for match in WORDS.finditer(part):
            if match[0] in marked:  # once a sentence is enough: more dotted lines would make it hard to read
                continue
            marked.add(match[0])
            meaning = escape(GLOSSARY[match[0]])
            parts += [escape(part[end : match.start()]), f'<abbr title="{meaning}">{escape(match[0])}</abbr>']
            end = match.end()
        parts.append(escape(part[end:]))
    return "".join(parts)
