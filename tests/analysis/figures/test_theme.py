"""Labels of logarithmic axes keep apart, from a fraction of a decade to a dozen of them; page and figures agree."""

import re
from itertools import pairwise

import numpy as np
import pytest

from analysis.figures.theme import DARK, LIGHT, log_ticks
from analysis.html import asset

PANEL = 250  # pixels of an axis on a phone of 390 pixels, or in a third of the page


@pytest.mark.parametrize("decades", [0.06, 0.1, 0.2, 0.34, 0.36, 0.6, 0.69, 1.0, 1.2, 2.1, 2.3, 3.4, 5, 7, 9, 12])
@pytest.mark.parametrize("low", [1.0, 1.3, 3.0, 700.0, 9e3, 1.2e5])
def test_no_two_labels_touch_and_two_are_there(low, decades):
    high = low * 10**decades
    found = log_ticks(np.array([low, high]))
    shown = [
        (np.log10(tick / low) / decades / 1.1 * PANEL, text)
        for tick, text in zip(found["tickvals"], found["ticktext"], strict=True)
        if low * 0.999 <= tick <= high * 1.001
    ]
    assert len(shown) >= 2
    for (left, one), (right, other) in pairwise(shown):
        assert right - left > 7 * (len(one) + len(other)) / 2


def test_a_single_value_has_labels_around_it():
    found = log_ticks(np.array([3000.0]))
    assert found["range"] == pytest.approx([np.log10(3000) - 0.5, np.log10(3000) + 0.5])
    assert {"2k", "5k"} <= set(found["ticktext"])


@pytest.mark.parametrize(("selector", "colours"), [(":root", LIGHT), (":root.dark", DARK)])
def test_the_page_has_the_colours_of_its_figures(selector, colours):
    css = asset("page.css")
    (block,) = re.findall(rf"^{re.escape(selector)} \{{(.*?)\}}", css, re.DOTALL | re.MULTILINE)
    of_page = {name.replace("-", "_"): colour for name, colour in re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)}
    assert of_page == {name: colours[name] for name in of_page}
    assert len(of_page) == 10  # page, card, ink, muted, line, accents, good, warn, bad
