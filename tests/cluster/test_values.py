"""The readers that grids and profiles share."""

import pytest

from cluster.errors import ProfileError, SettingError
from cluster.values import check_keys, number, raised_as, read_yaml, whole


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
