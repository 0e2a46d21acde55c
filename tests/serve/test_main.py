"""The service as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import zhseq
from tests.serve.fakes import FakeTagger
from zhseq.cli import run_main
from zhseq.poetry.poet import Poet
from zhseq.poetry.wishes import words_of_prose
from zhseq.serve.__main__ import _warm_up, main
from zhseq.serve.processes import summed
from zhseq.serve.protocol import HEAD_BYTES

ROOT = Path(__file__).resolve().parents[2]
REAL = [sys.executable, "-m", "zhseq.serve"]
FAKE = [sys.executable, "-m", "tests.serve.fake_server", "--threads", "1"]


class Server:
    """A running service."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*FAKE, "--port", "0", *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.settimeout(20)
        return connection

    def stop(self) -> tuple[int, list[dict[str, object]]]:
        """Ask it to stop; return its exit status and what it logged."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> tuple[int, list[dict[str, object]]]:
        _, logged = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in logged.splitlines()]


@contextmanager
def server(*arguments: str) -> Iterator[Server]:
    running = Server(*arguments)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with server() as running:
        yield running


def post(text: str, path: str = "/v1/tag") -> bytes:
    body = json.dumps({"text": text}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Read one answer."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        length = 0
        while (line := stream.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return status, json.loads(stream.read(length))


def code_of(body: dict[str, object]) -> str:
    return str(body["error"]["code"])  # type: ignore[index]


def test_it_serves(shared: Server) -> None:
    with shared.connect() as connection:
        for text in ("北京", "上海"):  # on one connection
            connection.sendall(post(text))
            status, body = answer(connection)
            assert status == 200
            assert body["documents"][0]["text"] == text  # type: ignore[index]


def test_what_cuts_sentences_into_words_is_there_before_the_first_request() -> None:
    words_of_prose.cache_clear()
    services = SimpleNamespace(tagger=FakeTagger(), poet=Poet.load(), handbook=None)
    _warm_up(SimpleNamespace(state=SimpleNamespace(services=services)))
    assert words_of_prose.cache_info().currsize


def test_50_mb_are_refused_before_they_come(shared: Server) -> None:
    with shared.connect() as connection:
        connection.sendall(post("x").replace(b"Content-Length: 13", b"Content-Length: 52428800"))
        status, body = answer(connection)
        assert (status, code_of(body)) == (413, "too_large")


def test_a_body_without_end_is_refused_while_it_comes(shared: Server) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with shared.connect() as connection:
        head, _, _ = post("x").partition(b"Content-Length")
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            connection.sendall(chunk)
        status, body = answer(connection)
        assert (status, code_of(body)) == (413, "too_large")
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(1) == b""  # closed


def test_a_long_body_that_comes_at_once_is_read(shared: Server) -> None:
    """More in one piece than a head may have: it must not be taken for the head of the next request."""
    body = b'{"text": "x"}' + b" " * (2 * HEAD_BYTES)
    head = f"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with shared.connect() as connection:
        for _ in range(3):
            connection.sendall(head.encode() + b"\r\n\r\n" + body)
            assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    "endless", [b"X-A: b\r\n", b"a", b"X: \x80\r\n"], ids=["many headers", "one header", "no ASCII"]
)
def test_headers_without_end_are_refused(shared: Server, endless: bytes) -> None:
    with shared.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        connection.sendall(endless * (HEAD_BYTES // len(endless) + 1))
        status, body = answer(connection)
        assert (status, code_of(body)) == (431, "head_too_large")


@pytest.mark.parametrize(
    "noise",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"],
)
def test_what_is_no_http_is_told_so(shared: Server, noise: bytes) -> None:
    with shared.connect() as connection:
        connection.sendall(noise)
        status, body = answer(connection)
        assert (status, code_of(body)) == (400, "invalid_http")


@pytest.mark.parametrize("text", ["30000", "北" * 90_000], ids=["short", "more than is read at once"])
def test_what_a_client_dropped_is_not_tagged(shared: Server, text: str) -> None:
    with shared.connect() as first, shared.connect() as dropped, shared.connect() as asking:
        before = batches(asking)
        first.sendall(post("2000"))
        time.sleep(0.8)  # on a busy machine the service may read both together sooner
        dropped.sendall(post(text))
        time.sleep(0.1)
        dropped.close()
        assert answer(first)[0] == 200
        asking.sendall(post("北京"))
        assert answer(asking)[0] == 200
        assert batches(asking) == before + 2


def batches(connection: socket.socket) -> int:
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    text = b""
    while b"zhseq_queue_poems 0.0\n" not in text:
        text += connection.recv(65_536)
    (line,) = [line for line in text.split(b"\n") if line.startswith(b"zhseq_batch_texts_count")]
    return int(float(line.split()[1]))


def test_a_stop_finishes_what_runs_and_refuses_what_is_new() -> None:
    with server() as running, running.connect() as busy, running.connect() as idle:
        idle.sendall(post("北京"))
        assert answer(idle)[0] == 200
        busy.sendall(post("700"))
        time.sleep(0.2)
        running.process.send_signal(signal.SIGTERM)
        status, body = answer(busy)
        assert (status, body["documents"][0]["text"]) == (200, "700")  # type: ignore[index]
        assert busy.recv(1) == b""
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionError):
            running.connect()
        code, logged = running.end()
        assert code == 0
        assert [line["event"] for line in logged] == ["start", "request", "request", "stop"]


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    with server() as running:
        with running.connect() as connection:
            for _ in range(1_000):  # a pipe holds the lines of about 370
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert answer(connection)[0] == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0


def test_after_a_kill_the_port_is_free_and_a_stop_does_not_wait_for_ever() -> None:
    with server() as first, first.connect() as connection:
        connection.sendall(post("60000"))
        time.sleep(0.1)
        first.process.kill()
        first.process.wait()
        with server("--port", str(first.port), "--grace", "1") as second, second.connect() as busy:
            assert second.port == first.port
            busy.sendall(post("60000"))
            time.sleep(0.3)
            begin = time.monotonic()
            second.process.send_signal(signal.SIGTERM)
            code, body = answer(busy)
            assert (code, code_of(body)) == (503, "stopping")
            status, logged = second.end()
            assert (status, logged[-1]["event"], logged[-1]["finished"]) == (0, "stop", False)
            assert time.monotonic() - begin < 10


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def check_sentence(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("zhseq: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_port_in_use_is_one_sentence(shared: Server) -> None:
    check_sentence(run([*REAL, "--port", str(shared.port)]), f"cannot listen on 127.0.0.1, port {shared.port}")


def test_no_key_no_strangers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("ZHSEQ_API_KEY", raising=False)
    check_sentence(main_with(["--host", "0.0.0.0"], monkeypatch, capsys), "ZHSEQ_API_KEY")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "0"], "threads must be at least 1"),
        (["--host", "no.such.host.invalid"], "cannot listen"),
        (["--tagger", "/no/such/model"], "/no/such/model"),
        (["--dict", "/no/such/words"], "/no/such/words"),
    ],
)
def test_bad_options_are_one_sentence(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZHSEQ_API_KEY", "k")
    check_sentence(main_with(arguments, monkeypatch, capsys), words)


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "prometheus_client", "httptools"])
def test_without_the_extra_it_says_how_to_get_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr("zhseq.serve.__main__.find_spec", lambda name: None if name == missing else find_spec(name))
    check_sentence(main_with([], monkeypatch, capsys), "pip install 'zhseq[serve]'")


def main_with(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process."""
    monkeypatch.setattr(sys, "argv", ["serve", "--port", "0", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_main(main)
    return subprocess.CompletedProcess([], caught.value.code, *capsys.readouterr())  # type: ignore[arg-type]


def test_several_processes_answer_as_one() -> None:
    with server("--processes", "3", "--timeout", "5") as running:
        total = 40
        for _ in range(total):
            with running.connect() as connection:  # each time a process that the kernel chooses
                connection.sendall(post("北京"))
                assert answer(connection)[0] == 200
        with running.connect() as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer(connection) == (200, {"status": "ready", "version": zhseq.__version__, "processes": 3})
        found = metrics(running)
        assert found['zhseq_requests_total{method="POST",path="/v1/tag",status="200"}'] == total
        assert found["zhseq_characters_total"] == 2 * total
        assert found["zhseq_processes"] == 3
        assert abs(found["process_start_time_seconds"] - time.time()) < 3_600
        code, logged = running.stop()
        assert code == 0
        starts = [line for line in logged if line["event"] == "start"]
        assert sorted(line["process"] for line in starts) == [1, 2, 3]  # type: ignore[type-var]
        requests = [line for line in logged if line["event"] == "request"]
        assert len({line["id"] for line in requests}) == len(requests)
        assert len({str(line["id"]).partition("-")[0] for line in requests}) > 1
        assert sum(line["event"] == "stop" for line in logged) == 3


def metrics(running: Server) -> dict[str, float]:
    with running.connect() as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as stream:
            lines = stream.read().decode().partition("\r\n\r\n")[2].splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_process_that_ends_is_replaced_and_none_is_left_behind() -> None:
    with server("--processes", "2") as running:
        end = time.monotonic() + 60
        while len(children(running.process.pid)) < 2:
            assert time.monotonic() < end
        first = children(running.process.pid)[0]
        os.kill(first, signal.SIGKILL)
        while len(set(children(running.process.pid)) - {first}) < 2:
            assert time.monotonic() < end
            time.sleep(0.1)
        for _ in range(10):
            with running.connect() as connection:
                connection.sendall(post("北京"))
                assert answer(connection)[0] == 200
        left = children(running.process.pid)
        running.process.kill()  # nobody tells them
        while any(Path(f"/proc/{child}/cmdline").exists() for child in left):
            assert time.monotonic() < end
            time.sleep(0.1)
        _, logged = running.end()
        assert [line["ended"] for line in logged if "ended" in line] == [-signal.SIGKILL]


def test_metrics_of_several_processes_are_summed() -> None:
    head = "# HELP a_total Some.\n# TYPE a_total counter\n"
    tail = "# HELP process_start_time_seconds Begin.\n# TYPE process_start_time_seconds gauge\n"
    first = f'{head}a_total{{p="x y"}} 1.0\n{tail}process_start_time_seconds 9.0\n'
    second = f'{head}a_total{{p="x y"}} 2.0\na_total{{p="z"}} 4.0\n{tail}process_start_time_seconds 7.0\n'
    joined = f'{head}a_total{{p="x y"}} 3.0\na_total{{p="z"}} 4.0\n{tail}process_start_time_seconds 7.0\n'
    assert summed([first, second]) == joined
    assert summed([first]) == first


def test_it_serves_without_torch() -> None:
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "runpy.run_module('zhseq.serve', run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--port", "0"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        place = f"http://127.0.0.1:{line.rpartition(':')[2].strip()}/v1/"
        for path, body, found in (
            ("tag", {"texts": ["王小明在北京大学学习。"]}, "北京大学"),
            ("poems", {"start": "春", "form": "五绝", "seed": 1}, "春"),
        ):
            content = json.dumps(body).encode()
            request = urllib.request.Request(place + path, content, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert found in json.dumps(json.load(answer), ensure_ascii=False)
    finally:
        process.terminate()
        process.communicate(timeout=60)
