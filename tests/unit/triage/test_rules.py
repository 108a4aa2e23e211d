# ruff: noqa: E501 - lines of logs and of rule files
"""The installed rules: each example holds, each rule is documented, wrong files are refused as a whole."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.errors import SpecError, SpecErrors
from include.triage.categories import Category, Event, Rank, Source
from include.triage.classify import Triage
from include.triage.examples import judged, problems
from include.triage.rulebook import INSTALLED, load_rules

if TYPE_CHECKING:
    from include.triage.compiled import CompiledRule

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "triage.md").read_text(encoding="utf-8")
RULE = """\
rules:
  my-rule:
    category: code
    rank: root
    when: {log: 'the flux capacitor broke'}
    cause: 'the flux capacitor broke'
    advice: 'mend the flux capacitor'
    remedy: none
    examples:
      - {exit: 3, log: 'the flux capacitor broke', cause: 'the flux capacitor broke', evidence: ':1: the flux'}
"""
ALL = load_rules().rules


@pytest.fixture(scope="module")
def wrong() -> list[str]:
    """What is wrong with the installed rules' examples."""
    return problems(Triage.load())


@pytest.mark.parametrize("rule", ALL, ids=[rule.name for rule in ALL])
def test_examples_hold(rule: CompiledRule, wrong: list[str]) -> None:
    assert [line for line in wrong if f"rule {rule.name}," in line] == []
    assert rule.rule.examples[0].cause is not None, "the first example says the cause"


@pytest.mark.parametrize("rule", ALL, ids=[rule.name for rule in ALL])
def test_rules_are_documented(rule: CompiledRule) -> None:
    assert f"| `{rule.name}` | {rule.rule.category.value} | {rule.rule.remedy.value} |" in PAGE


def test_a_wrong_example_is_found(rules: Path) -> None:
    wrong = RULE.replace("cause: 'the flux capacitor broke', ev", "cause: 'it rained', ev")
    (rules / "a.yaml").write_text(wrong)
    (line,) = problems(Triage.load(rules), ["my-rule"])
    assert line.startswith(f"{rules}/a.yaml:2: rule my-rule, example 1: the cause is")
    (rules / "a.yaml").write_text(
        RULE.replace("log: 'the flux capacitor broke', cause", "log: 'all well', cause")
    )
    (line,) = problems(Triage.load(rules), ["my-rule"])
    assert "my-rule should decide, but unclassified does" in line


@pytest.mark.parametrize("word", [*Category, *Source, *Event, *(rank.name.lower() for rank in Rank)])
def test_words_are_documented(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_every_file_of_rules_is_installed() -> None:
    assert {path.name for path in INSTALLED.iterdir()} == {
        "art.yaml", "condor.yaml", "cvmfs.yaml", "glibc.yaml", "jobsub.yaml", "mu2egrid.yaml", "prodsys.yaml",
        "python.yaml", "storage.yaml",
    }  # fmt: skip


def test_a_deployment_adds_and_replaces_rules(rules: Path) -> None:
    (rules / "a.yaml").write_text(RULE + RULE.removeprefix("rules:\n").replace("my-rule", "crash"))
    loaded = load_rules(rules)
    assert len(loaded.rules) == len(ALL) + 1
    assert loaded.rule("crash").rule.cause == "the flux capacitor broke"
    assert loaded.fingerprint != load_rules().fingerprint
    assert load_rules(rules) is loaded, "compiled once"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("category: code", "category: coed", "a.yaml:3:15: rules.my-rule.category"),
        ("remedy: none", "remedi: none", "a.yaml:8:5: unknown key 'remedi' in rules.my-rule (did you mean 'remedy'?)"),
        ("{log: 'the flux", "{lug: 'the flux", "a.yaml:5:12: unknown key 'lug' in rules.my-rule.when (did you mean 'log'?)"),
        ("when: {log: 'the flux capacitor broke'}", "when: {exit: 1..x}", "'1..x' is no code and no range"),
        ("when: {log: 'the flux capacitor broke'}", "when: {reason: '('}", "is no regular expression"),
        ("when: {log: 'the flux capacitor broke'}", "when: {reason: '.*'}", "matches nothing at all"),
        ("when: {log: 'the flux capacitor broke'}", "when: {log: 'the flüx'}", "printable ASCII"),
        ("when: {log: 'the flux capacitor broke'}", "when: {log: []}", "needs at least one of"),
        ("when: {log: 'the flux capacitor broke'}", "when: {reason: [1]}", "is no text"),
        ("when: {log: 'the flux capacitor broke'}", "when: {reason: '(?:a|aa)+!'}", "a.yaml:5:20: rules.my-rule.when"),
        ("when: {log: 'the flux capacitor broke'}", "when: {reason: '(?:a|aa)+!'}", "may search for ever"),
        ("when: {log: 'the flux capacitor broke'}", "when: {verdict: '(a+)+$'}", "may search for ever"),
        ("when: {log: 'the flux capacitor broke'}", "when: {log: {text: abc, regex: '(?:x?\\w)+!'}}", "may search for ever"),
        ("when: {log: 'the flux capacitor broke'}", "when: {log: {text: abc, ignore_case: true, regex: '(?:[a-z]+[A-Z])+!'}}", "may search for ever"),
        ("when: {log: 'the flux capacitor broke'}", "when: {reason: }", "has no value"),
        ("when: {log: 'the flux capacitor broke'}", "when: {memory_used: 0.5}", "needs at least one of"),
        ("when: {log: 'the flux capacitor broke'}", "when: {hold: 34-102}", "is no hold code"),
        ("when: {log: 'the flux capacitor broke'}", "when: {log: [{text: x}]}", "at least 3 characters"),
        ("cause: 'the flux capacitor broke'\n", "cause: 'the {flux} broke'\n", "cause names {flux}"),
        ("cause: 'the flux capacitor broke'\n", "cause: 'the {0.__class__} broke'\n", "cause names"),
        ("cause: 'the flux capacitor broke'\n", "cause: 'the {exit!r} broke it'\n", "only plain {name}"),
        ("    examples:\n", "    cause_of: crush\n    examples:\n", "cause_of names 'crush' (did you mean 'crash'?)"),
        ("    examples:\n", "    cause_of: my-rule\n    examples:\n", "it is the cause of itself"),
        ("    examples:\n", "    hold: {action: release, pause: 10}\n    examples:\n", "has no unit"),
        ("    examples:\n", "    advice:\n    examples:\n", "the key 'advice' is given twice"),
        ("my-rule", "My Rule", "my-rule"),
        ("rules:", "rule:", "unknown key 'rule'"),
        ("category: code", "category: unclassified", "is for what no rule fits"),
        ("rules:\n  my-rule:", "- 1", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(rules: Path, old: str, new: str, expected: str) -> None:
    assert old in RULE
    (rules / "b.yaml").write_text(RULE.replace("my-rule", "good-rule"))
    (rules / "a.yaml").write_text(RULE.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        load_rules(rules)
    if old != "my-rule":
        assert expected in str(caught.value)
    assert str(rules / "a.yaml") in str(caught.value)


def test_every_error_is_told_at_once(rules: Path) -> None:
    (rules / "a.yaml").write_text(
        RULE.replace("category: code", "category: x").replace("remedy: none", "remedy: y")
    )
    (rules / "b.yaml").write_text("rules: 1")
    with pytest.raises(SpecErrors) as caught:
        load_rules(rules)
    assert len(caught.value.errors) == 3


@pytest.mark.parametrize("kind", ["absent", "empty", "binary", "large", "twice"])
def test_a_folder_that_cannot_be_used(rules: Path, kind: str) -> None:
    file = rules / "a.yaml"
    if kind == "binary":
        file.write_bytes(b"\xff\xfe")
    elif kind == "large":
        file.write_text("#" * 300_000)
    elif kind == "twice":
        file.write_text(RULE)
        (rules / "b.yaml").write_text(RULE)
    with pytest.raises(SpecError):
        load_rules(rules / "none" if kind == "absent" else rules)


def test_a_shadow_rule_is_told_and_does_not_decide(rules: Path) -> None:
    (rules / "a.yaml").write_text(RULE.replace("    examples:", "    shadow: true\n    examples:"))
    triage = Triage.load(rules)
    assert problems(triage, ["my-rule"]) == []
    said = judged(triage, triage.rulebook.rule("my-rule").rule.examples[0])
    assert (said.category, said.rule, said.shadow) == ("unclassified", "", "my-rule")


TOKENS = [*RULE.split(), "\n", "\n  ", "\n    ", "{", "}", "[", "]", "- ", "&a ", "*a ", "!!int ", "null", "~", "1e999",
          "exit: 1..2", "regex: '('", "{x!r}", "{", "(?P<a>", "34/102", "hold: {action: release, pause: 1}", "log: {text: 1}"]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(TOKENS) | st.text(max_size=4)), max_size=6))
def test_any_file(changes: list[tuple[int, str]]) -> None:
    words = re.split(r"(\s+)", RULE)
    for place, token in changes:
        words[place % len(words)] = token
    with tempfile.TemporaryDirectory() as folder, suppress(SpecError):
        (Path(folder) / "a.yaml").write_bytes("".join(words).encode("utf-8", "surrogatepass"))
        Triage.load(Path(folder))
