"""The job's log goes to a log server as it grows; whatever the server does, the job does not suffer."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.worker.conftest import PROGRAM, PYTHON

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

COMPLAINT = "prodsys_job: the log server did not take this log, the job goes on without: "


class Post:
    """One post, taken apart."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.request, *lines = head.decode().split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in lines if line)
        first, _, self.data = body.partition(b"\n")
        self.head = json.loads(first)


class Server:
    """A server that keeps posts, and answers what the test wants."""

    def __init__(self, answer: Callable[[Post, socket.socket], None]) -> None:
        self.posts: list[Post] = []
        self.answer = answer
        self.url = ""

    def log(self) -> bytes:
        found = b""
        for each in self.posts:
            offset = each.head["offset"]
            assert offset <= len(found)
            found = found[:offset] + each.data
        return found


@contextmanager
def serving(answer: Callable[[Post, socket.socket], None]) -> Iterator[Server]:
    server = Server(answer)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b"".join(iter(self.rfile.readline, b"\r\n"))
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            got = Post(head, self.rfile.read(length))
            server.posts.append(got)
            server.answer(got, self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as tcp:
        tcp.daemon_threads, tcp.block_on_close = True, False
        server.url = f"http://127.0.0.1:{tcp.server_address[1]}/prodsys-logs/"
        thread = threading.Thread(target=tcp.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            tcp.shutdown()
            thread.join()


def reply(status: str, text: str) -> Callable[[Post, socket.socket], None]:
    def answer(_: Post, connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    return answer


def store(post: Post, connection: socket.socket) -> None:
    """Answer as the log server does."""
    reply("200 OK", json.dumps({"offset": post.head["offset"] + len(post.data)}))(post, connection)


def test_the_log_arrives_as_it_grows_and_whole_at_the_end(job: Any, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    job.good_script(f"printf 'half a line'; while [ ! -e {gate} ]; do sleep 0.1; done; echo ' more'\n")
    with serving(store) as server:
        job.document["log_server"] = {"url": server.url, "token": "the.token"}
        running = job.start()
        job.wait_until(lambda: b"subrun 3\n" in server.log())
        assert b"half" not in server.log()  # half a line waits for its end
        gate.touch()
        running.communicate(timeout=60)
        assert running.returncode == 0
        log = server.log()
        assert b"subrun 3\nhalf a line more\n" in log
        first, last = server.posts[0], server.posts[-1]
    report = job.report()
    archived = (job.logs / report["execution"] / "job.log").read_bytes()
    assert archived.startswith(log)
    assert first.request == "POST /prodsys-logs/v1/post HTTP/1.1"
    assert first.headers["Authorization"] == "Bearer the.token"
    assert first.head["execution"] == report["execution"]
    facts = first.head["facts"]
    assert (facts["cluster"], facts["process"], facts["first_subrun"]) == (77, 0, 3)
    assert (facts["host"], facts["node"]) == (report["host"], report["node"])
    assert [each for each in server.posts[1:] if "facts" in each.head] == []
    assert last.head["end"] == {"exit_code": 0, "failed_at": None, "error": None}


def test_a_failure_is_told(job: Any) -> None:
    job.script("echo no; exit 3\n")
    with serving(store) as server:
        job.document["log_server"] = {"url": server.url, "token": "t"}
        code, _ = job.run()
    assert code == 3
    end = server.posts[-1].head["end"]
    assert (end["exit_code"], end["failed_at"]) == (3, "script")


def test_of_a_log_that_grows_too_fast_the_tail_is_sent(job: Any) -> None:
    job.good_script("seq -f '%099.0f' 1 20000\n")
    with serving(store) as server:
        job.document["log_server"] = {"url": server.url, "token": "t"}
        code, _ = job.run()
    assert code == 0
    sent = sum(len(post.data) for post in server.posts)
    assert 200_000 < sent < 700_000  # of 2 MB, once or twice a tail
    assert max(len(post.data) for post in server.posts) <= 65536
    assert b"0020000\n" in server.posts[-1].data


def full(post: Post, connection: socket.socket) -> None:
    """Answer as the log server does when the submission's logs are full."""
    if post.data:
        reply("413 Content Too Large", '{"error": "take no more"}')(post, connection)
    else:
        store(post, connection)


def test_where_no_more_text_is_taken_heartbeats_and_the_end_are_sent(job: Any, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    job.good_script(f"while [ ! -e {gate} ]; do sleep 0.1; done; echo more\n")
    with serving(full) as server:
        job.document["log_server"] = {"url": server.url, "token": "t"}
        running = job.start()
        job.wait_until(lambda: len(server.posts) > 1)
        assert (server.posts[1].data, server.posts[1].head["facts"]["cluster"]) == (b"", 77)
        gate.touch()
        text = running.communicate(timeout=60)[0].decode()
    assert running.returncode == 0
    assert [bool(post.data) for post in server.posts] == [True, False, False]
    assert server.posts[-1].head["end"]["exit_code"] == 0
    complaints = [line for line in text.splitlines() if line.startswith(COMPLAINT)]
    assert ["it answers 413" in line for line in complaints] == [True]


def test_a_server_that_takes_not_even_heartbeats_is_left_alone(job: Any) -> None:
    job.good_script("sleep 6\n")
    with serving(reply("413 Content Too Large", "")) as server:
        job.document["log_server"] = {"url": server.url, "token": "t"}
        assert job.run()[0] == 0
    assert [bool(post.data) for post in server.posts] == [True, False]


def silent(_: Post, connection: socket.socket) -> None:
    """Never answer, and never hang up."""
    connection.settimeout(30)
    connection.recv(1)


def drip(_: Post, connection: socket.socket) -> None:
    """Answer one byte now and then."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply("401 Unauthorized", '{"error": "the token has expired"}'), 'it answers 401: \'{"error"'),
        (reply("404 Not Found", ""), "it answers 404"),
        (reply("302 Found", ""), "it answers 302"),
        (reply("503 Busy", ""), "it answers 503, later perhaps more"),
        (reply("200 OK", "<html>"), "JSONDecodeError"),
        (reply("200 OK", "[1]"), "TypeError"),
        (reply("200 OK", "{}"), "KeyError"),
        (lambda _, connection: connection.sendall(b"\x00\xff" * 5000 + b"\r\n"), "it does not speak HTTP"),
        (lambda _, connection: connection.close(), ""),
        (silent, None),
        (drip, None),
    ],
)
def test_a_server_that_is_no_good_costs_a_line(job: Any, answer: Any, why: str | None) -> None:
    job.good_script()
    with serving(answer) as server:
        job.document["log_server"] = {"url": server.url, "token": "t"}
        began = time.monotonic()
        code, text = job.run()
        took = time.monotonic() - began
    assert code == 0
    assert took < 20
    complaints = [line for line in text.splitlines() if line.startswith(COMPLAINT)]
    assert len(complaints) <= 1
    if why is not None:
        assert complaints
        assert why in complaints[0]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"url": "http://127.0.0.1:1/x", "token": "t"}, "Connection refused"),
        ({"url": "http://a..b/", "token": "t"}, ""),
        ({"url": "ftp://x/", "token": "t"}, "its address is neither http nor https"),
        ({"url": "", "token": "t"}, "its address is neither"),
        ({"url": "http://[::1", "token": "t"}, "ValueError"),
        ({"url": "http://127.0.0.1:99999/", "token": "t"}, ""),
        ({"url": "http://127.0.0.1:1/\r\nX: y", "token": "t"}, ""),
        ({"url": "http://127.0.0.1:1/"}, "KeyError"),
        ([1], "TypeError"),
    ],
)
def test_a_server_that_cannot_be_reached_costs_a_line(job: Any, target: Any, why: str) -> None:
    job.script("echo no; exit 9\n")
    job.document["log_server"] = target
    code, text = job.run()
    assert code == 9
    assert why in next(line for line in text.splitlines() if line.startswith(COMPLAINT))
    assert job.report()["exit_code"] == 9


def test_a_thread_that_cannot_be_started_costs_a_line(job: Any) -> None:
    """As under a limit of processes, which root's tests cannot set."""
    without = job.base / "without_threads.py"
    without.write_text(
        "import runpy, sys, threading\n"
        "def refuse(self):\n"
        '    raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = refuse\n"
        "del sys.argv[0]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    job.program = (PYTHON, str(without), str(PROGRAM))
    job.good_script()
    job.document["log_server"] = {"url": "http://127.0.0.1:1/", "token": "t"}
    code, text = job.run()
    assert code == 0
    (complaint,) = [line for line in text.splitlines() if line.startswith(COMPLAINT)]
    assert complaint == f"{COMPLAINT}can't start new thread"
    assert job.report()["exit_code"] == 0


def test_the_proxy_of_the_node_is_not_used(job: Any) -> None:
    job.good_script()
    job.environment["http_proxy"] = "http://127.0.0.1:1"
    with serving(store) as server:
        job.document["log_server"] = {"url": server.url, "token": "t"}
        assert job.run()[0] == 0
        assert server.posts
