"""What the ledger promises when processes race or die, and when somebody writes past it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from include.bookkeeping import schema
from include.bookkeeping.database import ledger_engine, ledger_url
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.tables import metadata
from include.campaign.states import OutputState, SubmissionState
from include.errors import LedgerError
from tests import ledger_records as records
from tests.ledger_records import NOW, TRANCHE, campaign_plan, intend, output, tag_of, verdict


@pytest.fixture
def raw(ledger, url):
    """A connection past the ledger's own methods, on a ledger with one slice, run 1000."""
    ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    intend(ledger, "gen")
    engine = ledger_engine(ledger_url(url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def race(*acts):
    """Run each act in a process of its own, all let go at once; return what each said."""
    command = [sys.executable, "-m", "tests.ledger_processes"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, *act], **pipes) for act in acts]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in processes]
    for process, (_, err) in zip(processes, answers, strict=True):
        assert process.returncode == 0, err
    return [out for out, _ in answers]


# Races


def test_processes_never_reserve_the_same_run(ledger, url):
    """Six processes: three tranches of a campaign, and two dag_runs of each tranche."""
    asked = [f"t{n % 3}" for n in range(6)]
    answers = race(*(("reserve", url, "z", tranche) for tranche in asked))
    runs = [tuple(int(run) for run in answer.split()) for answer in answers]
    by_tranche = dict(zip(asked, runs, strict=True))
    for tranche, got in zip(asked, runs, strict=True):
        assert got == by_tranche[tranche]
    assert sorted(run for got in by_tranche.values() for run in got) == list(range(1000, 1015))


def test_of_campaigns_with_one_range_the_first_gets_it(ledger, url):
    answers = race(*(("reserve", url, f"c{n}", "t") for n in range(4)))
    won = [answer for answer in answers if answer == "1000 1001 1002 1003 1004"]
    refused = [answer for answer in answers if "other campaigns have runs of its range" in answer]
    assert (len(won), len(refused)) == (1, 3)


def test_processes_that_intend_the_same_tag_agree(ledger, url):
    ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    answers = set(race(*(("intend", url, f"/sent/{n}") for n in range(4))))
    assert len(answers) == 1
    assert answers.pop().endswith(" 4")
    assert len(ledger.submissions("demo.z", TRANCHE)) == 1


def test_processes_that_settle_accept_one_output_a_subrun(ledger, url):
    ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    tag = intend(ledger, "gen")
    race(*(("settle", url, str(n)) for n in range(1, 5)))
    states = [each.state for each in ledger.outputs(tag)]
    assert states.count(OutputState.ACCEPTED) == 15
    assert states.count(OutputState.DUPLICATE) == 45


def test_processes_that_exclude_a_node_make_one_exclusion(ledger, url):
    race(*(("exclude", url, str(hours)) for hours in (1, 4, 2, 3)))
    assert [each.until for each in ledger.exclusions(NOW, all=True)] == [NOW + 4 * 3600]


def test_processes_that_upgrade_at_once_all_succeed(url):
    assert race(*[("upgrade", url)] * 4) == [schema.HEAD] * 4


# Death


def test_a_process_killed_in_settle_leaves_nothing_of_it(ledger, url):
    ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    tag = intend(ledger, "gen")
    ledger.record_outputs(tag, [output("gen", 0)], now=NOW)
    command = [sys.executable, "-m", "tests.ledger_processes", "die_in_settle", url]
    dead = subprocess.run(command, input="go\n", capture_output=True, text=True, timeout=120, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert ledger.verdicts(tag) == []
    assert [each.state for each in ledger.outputs(tag)] == [OutputState.CANDIDATE]
    records.accept(ledger, tag, [output("gen", 0)])
    ledger.settle(tag, verdicts=[verdict(0)], accept=[], reject=[], now=NOW)
    assert [each.state for each in ledger.outputs(tag)] == [OutputState.ACCEPTED]


# What the database itself refuses

SLICE = (
    "INSERT INTO slices (experiment, run, dag_id, tranche, slice_index, first_subrun, subruns, reserved_at)"
    " VALUES ('{experiment}', {run}, 'demo.z', '{tranche}', {index}, 0, {subruns}, 1.0)"
)
SUBMISSION = (
    "INSERT INTO submissions"
    " (tag, dag_id, tranche, run, stage, recovery, state, work_dir, message, intended_at, state_at)"
    " VALUES ('{tag}', 'demo.z', 'manual__1', {run}, '{stage}', {recovery}, '{state}', '', '', 1, 1)"
)
OUTPUT = (
    "INSERT INTO outputs"
    " (submission_id, execution, experiment, run, stage, name, first_subrun, last_subrun, path,"
    " size, sha256, adler32, state, recorded_at, accepted_at, state_at)"
    " VALUES ({submission}, '{execution}', 'demo', 1000, 'gen', 'default', 0, {last}, '/p',"
    " {size}, '', '', '{state}', 1, {accepted_at}, 1)"
)
A_SLICE = {"experiment": "demo", "run": 1001, "tranche": TRANCHE, "index": 1, "subruns": 4}
A_SUBMISSION = {"tag": "t", "run": 1000, "stage": "reco", "recovery": 0, "state": "intended"}
AN_OUTPUT = {
    "submission": 1,
    "execution": "e",
    "last": 0,
    "size": 1,
    "state": "candidate",
    "accepted_at": "NULL",
}


@pytest.mark.parametrize(
    ("statement", "good", "bad"),
    [
        (SLICE, A_SLICE, {"run": 1000}),
        (SLICE, A_SLICE, {"index": 0}),
        (SLICE, A_SLICE, {"subruns": 0}),
        (SLICE, A_SLICE, {"tranche": "none"}),
        (SLICE, A_SLICE, {"experiment": "other"}),
        (SUBMISSION, A_SUBMISSION, {"tag": tag_of("gen")}),
        (SUBMISSION, A_SUBMISSION, {"stage": "gen"}),
        (SUBMISSION, A_SUBMISSION, {"state": "lost"}),
        (SUBMISSION, A_SUBMISSION, {"state": "submitted"}),
        (SUBMISSION, A_SUBMISSION, {"recovery": -1}),
        (SUBMISSION, A_SUBMISSION, {"run": 1001}),
        (OUTPUT, AN_OUTPUT, {"state": "fine"}),
        (OUTPUT, AN_OUTPUT, {"state": "accepted"}),
        (OUTPUT, AN_OUTPUT, {"accepted_at": "1.0"}),
        (OUTPUT, AN_OUTPUT, {"last": -1}),
        (OUTPUT, AN_OUTPUT, {"size": -1}),
        (OUTPUT, AN_OUTPUT, {"submission": 99}),
    ],
)
def test_raw_sql_cannot_break_a_promise(raw, statement, good, bad):
    with pytest.raises(sa.exc.IntegrityError), raw.begin():
        raw.exec_driver_sql(statement.format(**{**good, **bad}))
    with raw.begin():
        raw.exec_driver_sql(statement.format(**good))
    with pytest.raises(sa.exc.IntegrityError), raw.begin():
        raw.exec_driver_sql(statement.format(**good))


def test_raw_sql_cannot_accept_two_outputs_of_a_subrun(raw):
    accepted = {**AN_OUTPUT, "state": "accepted", "accepted_at": "1.0"}
    with raw.begin():
        raw.exec_driver_sql(OUTPUT.format(**accepted))
        raw.exec_driver_sql(OUTPUT.format(**{**AN_OUTPUT, "execution": "e2", "state": "duplicate"}))
    with pytest.raises(sa.exc.IntegrityError), raw.begin():
        raw.exec_driver_sql(OUTPUT.format(**{**accepted, "execution": "e3", "last": 5}))
    with raw.begin():
        raw.exec_driver_sql("UPDATE outputs SET state = 'removed' WHERE execution = 'e'")
    with pytest.raises(sa.exc.IntegrityError), raw.begin():
        raw.exec_driver_sql(OUTPUT.format(**{**accepted, "execution": "e3"}))
    with pytest.raises(sa.exc.IntegrityError), raw.begin():
        raw.exec_driver_sql("UPDATE outputs SET state = 'rejected' WHERE execution = 'e'")


def test_a_slice_with_submissions_cannot_be_deleted(raw):
    with pytest.raises(sa.exc.IntegrityError), raw.begin():
        raw.exec_driver_sql("DELETE FROM slices WHERE run = 1000")


# Revisions


POSTGRES_CONSTRAINTS = (
    "SELECT conrelid::regclass || '.' || conname AS name, pg_get_constraintdef(oid) AS sql FROM pg_constraint"
)
POSTGRES_INDEXES = "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public'"
POSTGRES_COLUMNS = (
    "SELECT table_name || '.' || column_name AS name,"
    " data_type || is_nullable || coalesce(column_default, '') AS sql"
    " FROM information_schema.columns WHERE table_schema = 'public'"
)


def definitions(connection):
    """Return every table's and index's definition in the database's own words."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'"
        )
        return {row.name: " ".join((row.sql or "").split()) for row in rows}
    found = {}
    for query in (POSTGRES_CONSTRAINTS, POSTGRES_INDEXES, POSTGRES_COLUMNS):
        found.update({row.name: row.sql for row in connection.exec_driver_sql(query)})
    return {name: sql for name, sql in found.items() if "alembic" not in name}


def columns_apart(sql):
    """Return a CREATE TABLE's lines in any order: alembic and SQLAlchemy order constraints otherwise."""
    return sorted(part.strip(" ,()") for part in sql.replace(", CONSTRAINT", "\nCONSTRAINT").split("\n"))


def test_the_revisions_lead_to_the_tables(ledger, url):
    engine = ledger_engine(ledger_url(url))
    with engine.connect() as connection, connection.begin():
        migrated = definitions(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        metadata.drop_all(connection)
        metadata.create_all(connection)
        created = definitions(connection)
    engine.dispose()
    assert len(migrated) > len(metadata.tables)
    assert {name: columns_apart(sql) for name, sql in migrated.items()} == {
        name: columns_apart(sql) for name, sql in created.items()
    }


def test_the_known_revisions_are_alembics():
    script = ScriptDirectory.from_config(schema.alembic_config())
    assert script.get_heads() == [schema.HEAD]
    assert tuple(each.revision for each in script.walk_revisions())[::-1] == schema.REVISIONS


def test_an_older_or_newer_ledger_is_refused(ledger, url):
    engine = ledger_engine(ledger_url(url))
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with Ledger(url) as again, pytest.raises(LedgerError, match="revision 9999, newer than this prodsys"):
        again.tranches("demo.z")


# SQLite only


def test_a_reader_is_not_held_up_by_a_writer(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url) as ledger:
        ledger.upgrade()
        ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
        tag = intend(ledger, "gen")
        with ledger._write() as writing:
            writing.exec_driver_sql("UPDATE submissions SET state = 'refused'")
            with Ledger(url) as other:
                assert other.submission(tag).state is SubmissionState.INTENDED


def test_a_copied_ledger_is_whole(tmp_path):
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.upgrade()
        ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    with Ledger(f"sqlite:///{tmp_path}/copy.db") as copy:
        assert copy.tranches("demo.z") == [TRANCHE]
        assert copy.problems() == []
