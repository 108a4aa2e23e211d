"""Usage, status line, HDF5 files, and checksums that the storage keeps."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import struct
import time

import pytest

from include.campaign.states import Outcome, SubrunState
from include.checks import storedsums
from include.checks.hdf5files import SIGNATURE, look_at_header
from include.checks.storedsums import stored_adler32
from include.checks.usage import judge_usage

STATUS = (("status", (("success", "Art has completed and will exit with status 0"),)),)


# --- usage


def test_jobs_alike_get_no_note():
    draw = random.Random(1)
    walls = [draw.gauss(1000, 100) for _ in range(500)]
    assert judge_usage(walls, [500.0] * 500, {}) == {}


def test_outliers_pass_with_a_note():
    walls = [100.0 + number % 7 for number in range(50)]
    memory = [500.0] * 50
    walls[3], walls[4], memory[5] = 600.0, 2.0, 2600.0
    found = judge_usage(walls, memory, {})
    assert sorted(found) == [3, 4, 5]
    assert {(verdict.outcome, verdict.check) for verdict in found.values()} == {(Outcome.PASSED, "usage")}
    assert found[3].reason == "unusual run time: 600 s, the median of 50 good jobs is 103 s"
    assert found[4].reason == "unusual run time: 2 s, the median of 50 good jobs is 103 s"
    assert found[5].reason == "unusual memory: 2600 MB, the median of 50 good jobs is 500 MB"


def test_settings_move_the_limit():
    walls = [100.0] * 20 + [250.0]
    assert judge_usage(walls, [None] * 21, {}) == {}
    assert list(judge_usage(walls, [None] * 21, {"wall_factor": 2})) == [20]


def test_a_wide_distribution_has_no_outliers():
    walls = [10.0 * 1.3**number for number in range(20)]
    assert judge_usage(walls, [None] * 20, {}) == {}


def test_short_jobs_are_usual_where_many_are_short():
    assert judge_usage([1.0] * 5 + [100.0] * 15, [None] * 20, {}) == {}
    assert list(judge_usage([1.0] * 2 + [100.0] * 18, [None] * 20, {})) == [0, 1]


@pytest.mark.parametrize("values", [[], [1.0] * 9 + [None] * 90, [0.0] * 50, [None] * 50])
def test_too_little_is_known(values):
    assert judge_usage([*values, 1e9][: len(values)], values, {}) == {}


def test_ten_thousand_jobs_cost_milliseconds():
    draw = random.Random(2)
    walls = [draw.gauss(1000, 100) for _ in range(10_000)]
    started = time.process_time()
    judge_usage(walls, walls, {})
    assert time.process_time() - started < 0.5


def test_usage_in_a_judgement(make_site, ad_of):
    checks = ("exit", "outputs", "usage")
    site = make_site(12, checks=checks)
    for process in range(12):
        site.execute(process, ad=ad_of(process, wall_s=5000.0 if process == 7 else 100.0))
    judgement = site.judge()
    assert {unit.state for unit in judgement.units} == {SubrunState.ACCEPTED}
    (noted,) = [verdict for verdict in judgement.verdicts if verdict.check == "usage"]
    assert (noted.process, noted.outcome) == (7, Outcome.PASSED)
    assert [state.process for state in judgement.states] == list(range(12))
    off = make_site(12, checks=("exit", "outputs"))
    assert [verdict for verdict in off.judge().verdicts if verdict.check == "usage"] == []


def test_states_tell_held_jobs(make_site, ad_of):
    from include.campaign.states import JobStatus

    site = make_site(2)
    site.execute(0)
    site.ads.append(ad_of(1, status=JobStatus.HELD, exit_code=None))
    assert [(each.state, each.held) for each in site.judge().states] == [
        (SubrunState.ACCEPTED, False),
        (SubrunState.UNKNOWN, True),
    ]


# --- status


def test_status_line(make_site):
    site = make_site(3, checks=("exit", "outputs", "status"), check_settings=STATUS)
    good = site.execute(0, log="one\nArt has completed and will exit with status 0.\nend\n")
    site.execute(1, log="one\ntwo\n")
    (site.logs / site.execute(2) / "job.log").unlink()
    verdicts = [unit.verdicts[-1] for unit in site.judge().units]
    assert [verdict.outcome for verdict in verdicts] == [Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN]
    assert verdicts[0].evidence.startswith(f"{site.logs}/{good}/job.log:2: Art has completed")
    assert verdicts[1].reason == (
        "status line missing: no 'Art has completed and will exit with status 0' in the log"
    )
    assert verdicts[1].evidence.endswith("job.log:2: two")
    assert verdicts[2].reason.startswith("log cannot be read: ")


# --- manifest


def mu2egrid_log(files: dict[str, str], *, before: str = "") -> str:
    """Return a log as mu2egrid's wrapper ends it."""
    text = f"{before}#{'=' * 60}\n# mu2egrid manifest\n"
    text += "".join(f"# -rw-r--r-- 1 mu2e mu2e 5 Nov 24 03:00 {name}\n" for name in files)
    text += f"#{'-' * 60}\n# algorithm: sha256sum\n"
    text += "".join(f"{digest}  {name}\n" for name, digest in files.items())
    return f"{text}# mu2egrid manifest selfcheck: {hashlib.sha256(text.encode()).hexdigest()}  -\n"


def test_manifest(make_site):
    site = make_site(6, checks=("exit", "outputs", "manifest"))
    executions = [site.execute(process) for process in range(6)]
    for process, execution in enumerate(executions):
        (path,) = (site.outstage / execution).glob("*.root")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        good = mu2egrid_log({path.name: digest, "x.log": "0" * 64}, before="a\n")
        text = [
            good,
            good.replace("a\n", "b\n", 1),
            good.rpartition("# mu2egrid manifest self")[0],
            mu2egrid_log({"other.root": digest}),
            mu2egrid_log({path.name: "1" * 64}),
            "nothing\n",
        ][process]
        (site.logs / execution / "job.log").write_text(text)
    found = [unit.verdicts[-1] for unit in site.judge().units]
    assert [verdict.outcome for verdict in found] == [Outcome.PASSED] + [Outcome.FAILED] * 5
    assert [verdict.reason.partition(":")[0] for verdict in found] == [
        "",
        "manifest does not hold",
        "manifest is cut",
        "file not in the manifest",
        "manifest differs",
        "manifest missing",
    ]
    (site.logs / executions[0] / "job.log").unlink()
    assert site.judge().units[0].verdicts[-1].outcome is Outcome.UNKNOWN


# --- HDF5


def superblock(version: int, *, end: int, flags: int = 0) -> bytes:
    """Return a superblock by the HDF5 File Format Specification, section II.A."""
    if version < 2:
        head = SIGNATURE + bytes([version, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
        return head + bytes(4 * version) + struct.pack("<4Q", 0, 2**64 - 1, end, 2**64 - 1)
    return SIGNATURE + bytes([version, 8, 8, flags]) + struct.pack("<4QI", 0, 2**64 - 1, end, 48, 0)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_hdf5_header(tmp_path, version):
    path = tmp_path / "x.h5"
    path.write_bytes(superblock(version, end=4096).ljust(4096, b"x"))
    assert look_at_header(str(path)) == ""
    path.write_bytes(superblock(version, end=4096).ljust(4000, b"x"))
    assert look_at_header(str(path)) == "HDF5 file is cut: 4000 bytes of 4096"
    path.write_bytes(superblock(version, end=4096)[:30])
    assert look_at_header(str(path)) == "HDF5 file is cut: 30 bytes are not even a header"


def test_hdf5_with_something_in_front(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(bytes(1024) + superblock(2, end=2000).ljust(976, b"x"))
    assert look_at_header(str(path)) == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not an HDF5 file: it begins with b''"),
        (b"root\0\0\0\0rest", "not an HDF5 file: it begins with b'root"),
        (superblock(3, end=48, flags=1), "HDF5 file was not closed by its writer"),
        (SIGNATURE + b"\x09" + bytes(50), "HDF5 file is damaged: its superblock has version 9"),
        (SIGNATURE + b"\x02\x03" + bytes(50), "HDF5 file is damaged: its addresses have 3 bytes"),
        (SIGNATURE, "HDF5 file is damaged: its superblock has version -1"),
    ],
)
def test_bad_hdf5(tmp_path, content, problem):
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    assert look_at_header(str(path)).startswith(problem)


# --- checksums that the storage keeps


def attribute(path, name, value):
    """Set an extended attribute; the test is skipped where the file system has none."""
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            pytest.skip("the file system of the temporary folder has no extended attributes")
        raise


def of_xrootd(changed: int, value: bytes) -> bytes:
    """Return the attribute as XRootD writes it."""
    return struct.pack(">16sqiHBB", b"adler32", changed, 3, 0, 0, len(value)) + value.ljust(64, b"\0")


@pytest.mark.parametrize("value", [b"0A1B2C3D", b"adler32:0a1b2c3d\n"])
@pytest.mark.parametrize("name", ["user.checksum.adler32", "user.xrdcks.adler32"])
def test_text_attributes(tmp_path, name, value):
    path = tmp_path / "f"
    path.write_bytes(b"x")
    assert stored_adler32(str(path)) is None
    attribute(path, name, value)
    assert stored_adler32(str(path)) == "0a1b2c3d"
    attribute(path, name, b"nonsense!")
    assert stored_adler32(str(path)) is None


def test_the_attribute_of_xrootd_counts_only_if_the_file_has_not_changed(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x")
    changed = int(path.stat().st_mtime)
    attribute(path, "user.XrdCks.adler32", of_xrootd(changed, b"\x0a\x1b\x2c\x3d"))
    assert stored_adler32(str(path)) == "0a1b2c3d"
    os.utime(path, (changed + 5, changed + 5))
    assert stored_adler32(str(path)) is None
    attribute(path, "user.XrdCks.adler32", b"short")
    assert stored_adler32(str(path)) is None


def test_the_word_of_dcache(tmp_path, monkeypatch):
    monkeypatch.setattr(storedsums, "_DCACHE", f"{tmp_path}/")
    (tmp_path / ".(get)(f.root)(checksum)").write_text("ADLER32:0a1b2c3d\n")
    assert stored_adler32(str(tmp_path / "f.root")) == "0a1b2c3d"
    assert stored_adler32(str(tmp_path / "g.root")) is None


def test_the_file_is_read_unless_the_storage_agrees(make_site):
    site = make_site(checks=("outputs", "checksum"))
    execution = site.execute(0)
    path = next((site.outstage / execution).glob("*.root"))
    attribute(path, "user.checksum.adler32", b"00000000")
    assert site.judge().units[0].state is SubrunState.ACCEPTED  # out of date: the file decides
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert site.judge().units[0].verdicts[-1].reason.startswith("wrong sha256: ")
