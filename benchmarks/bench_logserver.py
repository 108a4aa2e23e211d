"""What the log server takes and how fast it finds: posts a second on one process, and search over many lines.

Run: python benchmarks/bench_logserver.py [LINES] [URL]

One server process on a database (URL's, which must be empty, else a private Postgres) is sent posts, each on
a connection of its own, as by jobs, and on kept ones, as by a proxy. Then LINES are stored and searched.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.ports import free_ports
from include.logserver.records import JobClaims, JobFacts, Post, Where
from include.logserver.store import LogStore
from include.logserver.tokens import job_token
from tests.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "benchmark" * 5
JOBS, SUBMISSIONS, CLIENTS = 10_000, 20, 200
BLOCK_LINES = 400
ROUNDS, POSTS, REPEATS = 7, 2000, 7
SEARCHES = (
    ("a word that is in one line", "needle4711", Where()),
    ("two words, in few lines", '"cannot open" xrootd', Where()),
    ("a word that is in a tenth of the blocks", "segmentation", Where()),
    ("a word that is in every line", "event", Where()),
    ("two common words that are never in one line", "processing segmentation", Where()),
    ("the beginning of a word", "needle47*", Where()),
    ("within one run", "segmentation", Where(dag_id="bench.z", run=1003)),
    ("of one job", "event", Where(run=1003, subrun=17)),
)


def claims(number: int) -> JobClaims:
    """Return what the token of one submission says."""
    run = 1000 + number
    tag = f"bench.z/t/{run:06d}/gen/recovery-0"
    return JobClaims(tag=tag, dag_id="bench.z", stage="gen", run=run, jobs=JOBS)


def text(chance: random.Random, lines: int, first: int) -> bytes:
    """Return lines as a program writes them; some have what is searched for."""
    rows = []
    for n in range(first, first + lines):
        row = f"%MSG-i event {n} run {chance.randrange(9999)} processing module{chance.randrange(40)}"
        rows.append(f"{row} took {chance.random():.6f} s at 0x{chance.randrange(16**8):08x}")
        if n % 3989 == 0:
            rows[-1] = f"Fatal: segmentation violation in module{chance.randrange(40)}"
        if n % 97_001 == 0:
            rows[-1] = f"Error: cannot open root://xrootd.example.org//store/{n}.root"
        if n % 1_000_003 == 4711:
            rows[-1] = f"the needle{n}"
    return "\n".join(rows).encode() + b"\n"


def fill(store: LogStore, lines: int) -> None:
    """Store `lines` lines as blocks of many logs, forty blocks a transaction; index them at the end."""
    chance, posts, number = random.Random(1), [], 0  # noqa: S311  the same lines each time
    ends: dict[tuple[int, int], int] = {}
    with store._write() as connection:  # noqa: SLF001  as below
        connection.exec_driver_sql("DROP INDEX ix_log_words_words")
    began = time.perf_counter()
    while number < lines:
        job = (chance.randrange(SUBMISSIONS), chance.randrange(200))
        data, offset = text(chance, BLOCK_LINES, number), ends.get(job, 0)
        facts = JobFacts(
            cluster=7, process=job[1], host=f"wn{job[1]}", first_subrun=job[1], last_subrun=job[1]
        )
        size = ends[job] = offset + len(data)
        execution = f"7.{job[1]}.0-{job[0]:08x}"
        posts.append(
            Post(claims=claims(job[0]), execution=execution, offset=offset, size=size, data=data,
                 at=time.time(), facts=facts)
        )  # fmt: skip
        number += BLOCK_LINES
        if len(posts) == 40 or number >= lines:
            store.append(posts)
            posts = []
    stored = time.perf_counter()
    with store._write() as connection:  # noqa: SLF001  what is measured is the search
        connection.exec_driver_sql("CREATE INDEX ix_log_words_words ON log_words USING gin (words)")
    with store._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # noqa: SLF001
        connection.exec_driver_sql("ANALYZE")
    took = f"{stored - began:.0f} s, indexed in {time.perf_counter() - stored:.0f} s"
    print(f"{lines:,} lines stored in {took}", flush=True)


def search(store: LogStore) -> None:
    """Search, and tell the median."""
    for what, words, where in SEARCHES:
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            found = store.search(words, where)
            times.append(time.perf_counter() - began)
        more = "" if found.complete else ", not to the end"
        middle = statistics.median(times) * 1000
        print(f"search {words!r}, {what}: {middle:.0f} ms, {len(found.hits)} hits{more}", flush=True)


@contextmanager
def server(url: str) -> Iterator[tuple[int, int]]:
    """Start one server process; yield its port and its process id."""
    (port,) = free_ports((8790,))
    command = [sys.executable, "-m", "include.logserver", "--db", url, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "PRODSYS_LOG_KEY": KEY}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "the server did not start"  # noqa: PT018
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def memory_mb(pid: int) -> float:
    """Return a process's memory, MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request(token: str, number: int, offset: int, *, close: bool) -> bytes:
    """Return one post of about 1 kB of log, as bytes on the wire."""
    data = b"%MSG-i event 123 processing module7 took 0.123 s at 0xdeadbeef\n" * 16
    head = f'{{"version":1,"execution":"8.{number}.0-0","offset":{offset},"size":{offset + len(data)}}}\n'
    body = head.encode() + data
    lines = [
        "POST /v1/post HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, f"Connection: {'close' if close else 'keep-alive'}", "", ""]).encode() + body


async def client(port: int, jobs: list[int], token: str, round_: int, *, close: bool) -> int:
    """Send one post of each job, one after the other; return how many were taken."""
    good, stream = 0, None
    for number in jobs:
        if stream is None:
            stream = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = stream
        writer.write(request(token, number, round_ * 1008, close=close))
        head = await reader.readuntil(b"\r\n\r\n")
        good += head.startswith(b"HTTP/1.1 200")
        if close:
            writer.close()
            stream = None
        else:
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
    if stream is not None:
        stream[1].close()
    return good


async def load(port: int, pid: int) -> None:
    """Send posts of different jobs, by many clients at a time."""
    token = job_token(KEY, claims(999), expires=time.time() + 3600)
    jobs = list(range(POSTS))
    for close in (True, False):
        rates, sizes, costs = [], [], []
        for round_ in range(ROUNDS + 1):
            began, before = time.perf_counter(), cpu_s(pid)
            parts = [jobs[n::CLIENTS] for n in range(CLIENTS)]
            place = round_ + (0 if close else ROUNDS + 1)
            good = await asyncio.gather(*(client(port, part, token, place, close=close) for part in parts))
            assert sum(good) == POSTS, f"only {sum(good)} of {POSTS} posts were taken"
            if round_ == 0:  # makes the logs: a job's first post costs more
                continue
            rates.append(POSTS / (time.perf_counter() - began))
            sizes.append(memory_mb(pid))
            costs.append((cpu_s(pid) - before) / POSTS * 1000)
        how = "a connection each" if close else "connections kept"
        spread = f"{statistics.median(rates):,.0f} posts/s, {min(rates):,.0f} to {max(rates):,.0f}"
        cost = statistics.median(costs)
        print(f"{how}: {spread}; {cost:.2f} CPU-ms of the server a post", flush=True)
        print(f"    {sizes[0]:.0f} MB after the first round, {sizes[-1]:.0f} MB after the last", flush=True)


def main(lines: int, url: str) -> None:
    """Fill, search, load."""
    with LogStore(url) as store:
        store.upgrade()
        with server(url) as (port, pid):
            asyncio.run(load(port, pid))
        if lines:
            fill(store, lines)
            search(store)


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 2:
        main(wanted, sys.argv[2])
    else:
        with running_postgres() as postgres:
            main(wanted, postgres.url)
