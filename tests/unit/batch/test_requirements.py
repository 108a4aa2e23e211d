"""The one requirement of a submission."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.batch.requirements import REQUIREMENT, exclusion_lines, name_list, with_requirement
from include.campaign.identifiers import is_node
from include.campaign.jobsub_options import changed_by_jobsub


@pytest.mark.parametrize(
    ("options", "given_by_spec", "rest"),
    [
        ((), [], ()),
        (("--onsite", "-c", "(A)"), ["(A)"], ("--onsite",)),
        (("-cA == 1", "--append-condor-requirements=B", "-c", "C || D"), ["A == 1", "B", "C || D"], ()),
        (("-c=A", "--append_condor_req", "B"), ["A", "B"], ()),
        (("-QcA", "-Qc", "B"), ["A", "B"], ("-Q", "-Q")),
        (
            ("-l", "+Abc=5", "-dcopy", "/x", "--cmtconfig", "c"),
            [],
            ("-l", "+Abc=5", "-dcopy", "/x", "--cmtconfig", "c"),
        ),
        (("--apptainer-image", "x"), [], ("--apptainer-image", "x")),
        (("-c", '(B == \\"x\\")'), ['(B == "x")'], ()),
    ],
)
def test_options(options: tuple[str, ...], given_by_spec: list[str], rest: tuple[str, ...]) -> None:
    name, expression, *others = with_requirement(options)
    assert name == "--append_condor_requirements"
    assert expression == " && ".join([*(f"({text})" for text in given_by_spec), REQUIREMENT])
    assert tuple(others) == rest


@pytest.mark.parametrize("options", [("-c",), ("-c", "-Q"), ("--append_condor_requirements=", "x")])
def test_without_an_expression(options: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="needs a requirements expression"):
        with_requirement(options)


def test_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="line break"):
        with_requirement(("-c", "A\nqueue 5"))


@given(st.lists(st.text(alphabet="ab'\\\"&( )=", min_size=1, max_size=8).map("x".__add__), max_size=3))
def test_jobsub_gets_what_each_expression_would_be_alone(expressions: list[str]) -> None:
    options = [word for text in expressions for word in ("-c", text)]
    _, expression = with_requirement(options)
    alone = [f"({changed_by_jobsub(text).strip()})" for text in expressions]
    assert changed_by_jobsub(expression) == " && ".join([*alone, REQUIREMENT])


def test_names() -> None:
    assert name_list(["wn2.pool", "wn1.pool", "wn2.pool"]) == "wn1.pool,wn2.pool"
    assert exclusion_lines(["b-1", "a.x"], ["US_BNL"]) == [
        '+ProdsysExcludedHosts="a.x,b-1"',
        '+ProdsysExcludedSites="US_BNL"',
    ]
    assert exclusion_lines([], []) == []


@pytest.mark.parametrize("separator", [",", " "])
def test_a_list_is_read_alike_whatever_separates_it(separator: str) -> None:
    import classad2
    import htcondor2  # registers the function

    assert htcondor2.version()
    (line,) = exclusion_lines(["wn1.pool", "wn2.pool"], [], separator=separator)
    names = line.partition("=")[2]
    for node, excluded in (("wn1.pool", True), ("WN2.pool", True), ("wn3.pool", False), ("wn1", False)):
        assert classad2.ExprTree(f'stringListIMember("{node}", {names})').eval() is excluded


@pytest.mark.parametrize("name", ["", "a b", "a,b", 'a"', "a\n", "$(X)", "slot1@wn1", "é"])
def test_impossible_names(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        name_list([name])


@given(st.text(st.sampled_from("aZ9._- ,\"'$@é\n\\"), max_size=6))
def test_the_ledger_refuses_what_a_list_cannot_carry(name: str) -> None:
    try:
        name_list([name])
    except ValueError:
        assert not is_node(name)
    else:
        assert is_node(name)
