"""Templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.campaign.template import JOB_VARIABLES, example, fill


def test_plan_variables_are_filled_and_job_variables_left_open() -> None:
    filled = fill("{owner}.{n:03d}.{run:06d}_{subrun}", {"owner": "mu2e", "n": 7}, job=JOB_VARIABLES)
    assert filled.text == "mu2e.007.{run:06d}_{subrun}"
    assert filled.open == {"run", "subrun"}
    assert example(filled.text, run=5, subrun=2) == "mu2e.007.000005_2"


@given(st.text(), st.text())
def test_braces_of_values_and_literals_survive_both_fillings(value: str, literal: str) -> None:
    template = "{owner}" + literal.replace("{", "{{").replace("}", "}}") + "{run}"
    filled = fill(template, {"owner": value}, job=("run",))
    assert example(filled.text, run=5) == value + literal + "5"
    assert fill("{owner}", {"owner": value}).closed() == value


@given(st.text())
def test_any_text_is_filled_or_a_value_error(template: str) -> None:
    try:
        fill(template, {"owner": "x"}, job=JOB_VARIABLES)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "template",
    ["{owner.__class__}", "{owner[0]}", "{0}", "{}", "{run!r}", "{run:{owner}}", "{run:99999d}", "{run:s}"],
)
def test_what_could_run_code_or_blow_up_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"plain name|no variable|not allowed|does not fit"):
        fill(template, {"owner": "x"}, job=JOB_VARIABLES)
