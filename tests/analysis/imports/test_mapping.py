import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.imports.mapping import ImportSettings, mapped, pairs

FRAME = pd.DataFrame({"width": [16, 32], "flop": [6e3, 6e4], "val loss": [2.5, 2.0], "opt": ["adam", "sgd"]})
ALL = {"mapping": {"n_rec": "width", "metric": "val loss"}, "task": "mine", "direction": "min"}


def rows_of(frame=FRAME, **changes):
    return mapped(frame, ImportSettings(**{**ALL, **changes}), place="t.csv")[0]


def test_what_the_table_lacks_is_null_and_what_it_has_is_taken():
    rows = rows_of(mapping={"n_rec": "width", "k_e": "flop / (6 * width)", "metric": "val loss"})
    assert rows["n_rec"].tolist() == [16, 32]
    assert rows["k_e"].tolist() == [62.5, 312.5]
    assert rows["final_test_metric"].tolist() == [2.5, 2.0]
    assert set(rows["metric"]) == {"val loss"}
    assert set(rows["status"]) == {"finished"}
    given = {"trial_id", "sweep", "status", "task", "metric", "direction", "spec", "code_version", "n_rec", "k_e"}
    assert {name for name in rows if rows[name].notna().any()} == given | {"final_test_metric"}


def test_columns_of_our_names_are_taken_by_them_and_a_mapping_comes_first():
    frame = FRAME.rename(columns={"width": "n_rec"}).assign(budget=[1000, 2000])
    rows, mapping = mapped(frame, ImportSettings(**ALL | {"mapping": {"metric": "val loss"}}), place="t.csv")
    assert rows["budget"].tolist() == [1000, 2000]
    assert mapping == {"n_rec": "n_rec", "budget": "budget", "metric": "val loss"}
    assert rows_of(frame, mapping={"n_rec": "2 * budget", "metric": "val loss"})["n_rec"].tolist() == [2000, 4000]


def test_settings_stand_in_the_specs():
    assert rows_of(settings=("opt",))["spec"].tolist() == ['{"opt": "adam"}', '{"opt": "sgd"}']


BAD = {
    "did you mean 'width'": {"mapping": {"n_rec": "widht", "metric": "val loss"}},
    "did you mean 'n_rec'": {"mapping": {"nrec": "width", "metric": "val loss"}},
    "--map k_e=flop / wdth: 'wdth' is not known": {"mapping": ALL["mapping"] | {"k_e": "flop / wdth"}},
    "expected a column or arithmetic": {"mapping": ALL["mapping"] | {"k_e": "open('x')"}},
    "no metric; name its column": {"mapping": {"n_rec": "width"}},
    "no size; give --map n_rec=COLUMN": {"mapping": {"metric": "val loss"}},
    "no task; give --task": {"task": None},
    "no direction; give --direction": {"direction": None},
    "--settings: 'optt' is not known; did you mean 'opt'": {"settings": ("optt",)},
    "--units: 'k_e' is not known": {"units": {"k_e": "tokens"}},
}


@pytest.mark.parametrize("message", BAD)
def test_a_mapping_that_cannot_be_is_one_line(message):
    with pytest.raises(AnalysisError) as found:
        rows_of(**BAD[message])
    assert message in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("val loss", ["2.5", "oops"], "t.csv: --map metric=val loss: 'oops' in row 2 is not a number"),
        ("val loss", [True, False], "'True' in row 1 is not a number"),
        ("width", ["16", "2k"], "mixed units, '16' in row 1 and '2k' in row 2; write plain numbers of one unit"),
        ("width", ["1M", "2k"], "mixed units, '1M' in row 1 and '2k' in row 2"),
        ("width", ["1M", "2M"], "'1M' in row 1 is not a number"),
    ],
)
def test_a_value_that_is_no_number_is_named_with_its_row(column, values, message):
    with pytest.raises(AnalysisError) as found:
        rows_of(FRAME.assign(**{column: values}))
    assert message in str(found.value)


def test_ids_that_occur_twice_or_not_at_all_are_refused():
    mapping = ALL["mapping"] | {"trial_id": "opt"}
    with pytest.raises(AnalysisError, match="trial_id 'adam' occurs twice; ids name one row each"):
        rows_of(FRAME.assign(opt="adam"), mapping=mapping)
    with pytest.raises(AnalysisError, match="no trial_id in row 2"):
        rows_of(FRAME.assign(opt=["adam", None]), mapping=mapping)


def test_a_status_of_another_tool_is_refused_with_ours():
    with pytest.raises(AnalysisError, match="status: 'adam' is not known. Valid: "):
        rows_of(mapping=ALL["mapping"] | {"status": "opt"})


@pytest.mark.parametrize("text", ["width", "=width", "n_rec=", "n_rec=a,n_rec=b"])
def test_pairs_that_are_none_are_refused(text):
    with pytest.raises(AnalysisError, match="--map: "):
        pairs("--map", [text])
