import pytest

from cluster.errors import choices_hint
from tasks.errors import TaskError
from tasks.options import Option, resolve_options

DECLARED = (
    Option(name="size", default=64, help="", choices=(64, 1024)),
    Option(name="share", default=0.5, help="", minimum=0.0, maximum=1.0),
    Option(name="depth", default=3, help="", minimum=1),
    Option(name="grey", default=True, help=""),
    Option(name="path", default="embedded", help=""),
)


def resolve(**given: object) -> dict[str, object]:
    return dict(resolve_options(given, DECLARED, task="images", where="task"))


def test_defaults_fill_in_and_types_are_kept() -> None:
    assert resolve() == {"size": 64, "share": 0.5, "depth": 3, "grey": True, "path": "embedded"}
    assert resolve(share=1)["share"] == 1.0
    assert isinstance(resolve(share=1)["share"], float)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": 64}, r"task\.sizes: task 'images' has no such option; did you mean 'size'\? Valid: "),
        ({"size": 128}, r"task\.size: 128 is not valid\. Valid: 64, 1024"),
        ({"share": 1.5}, r"task\.share: 1\.5 is not valid; give a number from 0\.0 to 1\.0"),
        ({"share": float("nan")}, r"task\.share: nan is not valid"),
        ({"depth": 0}, r"task\.depth: 0 is not valid; give a whole number of at least 1"),
        ({"depth": 2.5}, r"task\.depth: 2\.5 is not valid; give a whole number"),
        ({"depth": True}, r"task\.depth: True is not valid; give a whole number"),
        ({"grey": 1}, r"task\.grey: 1 is not valid; give true or false"),
        ({"path": ""}, r"task\.path: is empty"),
    ],
)
def test_bad_values_name_key_value_and_choices(given: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=f"^{message}") as caught:
        resolve(**given)
    assert "\n" not in str(caught.value)


def test_the_hint_proposes_only_something_close() -> None:
    assert choices_hint("xyzzy", ["bytes", "letters"]) == ". Valid: bytes, letters"
