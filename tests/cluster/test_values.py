"""The readers that grids and profiles share."""

import pytest
import yaml

from cluster.errors import ProfileError, SettingError
from cluster.values import check_keys, number, raised_as, text, whole
from cluster.yaml_reader import read_yaml, write_yaml


def test_a_whole_number_is_not_sent_through_a_fraction():
    largest = 2**53 - 1
    assert whole(1)(largest, "n") == whole(1)(str(largest), "n") == largest
    for beyond in (largest + 2, str(largest + 2)):  # a fraction would make it another number, which is within the limit
        with pytest.raises(SettingError, match="n: 9007199254740993 is not allowed; any whole number: "):
            whole(1)(beyond, "n")
    assert [whole(1)(value, "n") for value in (1e3, "1e3", "7")] == [1000, 1000, 7]


@pytest.mark.parametrize("value", [True, 0, 1.5, "two", None, float("nan"), [1], "9" * 401])
def test_what_is_no_whole_number_is_named_with_its_place(value):
    with pytest.raises(SettingError, match=r"^budgets\[0\]: expected a whole number of at least 1, got "):
        whole(1)(value, "budgets[0]")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "inf", True, "fast", None])
def test_numbers_are_finite(value):
    with pytest.raises(SettingError, match=r"^training\.learning_rate: expected a number, got "):
        number(value, "training.learning_rate")
    assert number("1e-3", "training.learning_rate") == 0.001


def test_a_key_given_twice_and_an_unknown_key_are_refused():
    with pytest.raises(SettingError, match="key 'a' is given twice"):
        read_yaml("a: 1\na: 2\n")
    with pytest.raises(SettingError, match="model.dm: 'dm' is not known; did you mean 'd_m'"):
        check_keys("model.", {"dm": 1}, ("d_m", "n_rec"))


def test_errors_get_the_class_that_a_file_promises():
    with pytest.raises(ProfileError, match="n: expected a number"), raised_as(ProfileError):
        number("x", "n")


def test_plain_scalars_are_read_by_the_rules_of_yaml_1_2():
    words = ["no", "yes", "on", "off", "y", "NO", "1:30", "24:00:00", "2001-01-02", "1_000a", "=", "0b1", "1e", "."]
    assert read_yaml(f"[{', '.join(words)}]") == words
    assert read_yaml("no: 1\non: 2") == {"no": 1, "on": 2}
    numbers = read_yaml("[10_000, -3, +4, 0o17, 0x1F, 1e-3, 1.0e3, .5, 1_000.5, 2.]")
    assert numbers == [10_000, -3, 4, 15, 31, 0.001, 1000.0, 0.5, 1000.5, 2.0]
    assert [type(number) for number in numbers] == [int] * 5 + [float] * 5
    assert read_yaml("[true, False, ~, null, .inf]") == [True, False, None, None, float("inf")]
    assert read_yaml("a:") == {"a": None}


def test_a_number_that_begins_with_a_zero_is_refused():
    with pytest.raises(SettingError, match=r"n\[1\]: 007 \(line 1\) begins with a zero"):
        read_yaml("n: [0, 007]")


def test_a_fraction_is_no_name():
    with pytest.raises(SettingError, match=r"version: expected one line of text, got 2\.6; put a name into quotes"):
        text(read_yaml("2.60"), "version")
    assert text(read_yaml("2024"), "partition") == "2024"


def test_what_is_written_reads_back_by_both_versions_of_yaml():
    content = {"a": ["no", "1:30", "1e-3", "007", "0o17", "2001-01-02", "~", "", "true"], "on": [1e-05, 10_000, None]}
    assert read_yaml(write_yaml(content)) == content
    assert yaml.safe_load(write_yaml(content)) == content
