"""Commented YAML reads back as what was written."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster.kinds.yaml_text import commented_yaml

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    TEXT,
    st.sampled_from(["a\nb\n", "a\nb", " a\nb", "\n", "yes", "1", "a: b", "- x", "#"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=15,
)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=5))
def test_it_reads_back_as_it_was(value):
    assert yaml.safe_load(commented_yaml(value, {})) == value


def test_comments_stand_above_their_keys():
    value = {"a": 1, "spec": {"items": [{"name": "x", "script": "one\ntwo\n"}]}}
    text = commented_yaml(value, {"spec.items": "Why.\nBecause.", "spec.items.0.script": "What runs."})
    assert text.splitlines() == [
        "a: 1", "spec:", "  # Why.", "  # Because.", "  items:", "    - name: x", "      # What runs.",
        "      script: |", "        one", "        two",
    ]  # fmt: skip
    assert yaml.safe_load(text) == value
