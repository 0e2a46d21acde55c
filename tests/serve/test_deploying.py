"""The examples in docs/deploy: they say what the service understands, and run where their programs are installed."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.test_main import Server, server
from zhseq.serve.__main__ import parse

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "deploy"
NAME = "zhseq.example.org"


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {' and '.join(missing)}")


def test_the_image_is_started_as_the_service_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHSEQ_API_KEY", "k" * 20)
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    words = [*json.loads(found(r"^ENTRYPOINT (.*)$", text)), *json.loads(found(r"^CMD (\[.*\])$", text))]
    assert words[:2] == ["zhseq", "serve"]
    settings = parse(words[2:])
    assert (settings.host, settings.port) == ("0.0.0.0", int(found(r"^EXPOSE (\d+)$", text)))
    assert f"http://127.0.0.1:{settings.port}/ready" in text
    assert len(re.findall("^FROM ", text, re.MULTILINE)) == 2
    assert text.index("USER zhseq") < text.index("ENTRYPOINT")


def found(pattern: str, text: str) -> str:
    (value,) = re.findall(pattern, text, re.MULTILINE)
    return str(value)


def test_the_unit_starts_the_service_as_it_understands() -> None:
    words = found(r"^ExecStart=(.*)$", (FOLDER / "zhseq.service").read_text(encoding="utf-8")).split()
    assert words[1] == "serve"
    settings = parse(words[2:])
    assert settings.trusted_proxies == ("127.0.0.1",)
    stop = int(found(r"^TimeoutStopSec=(\d+)$", (FOLDER / "zhseq.service").read_text(encoding="utf-8")))
    assert stop > settings.grace


@needs("systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "zhseq.service"
    text = (FOLDER / "zhseq.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/zhseq/bin/zhseq", "/bin/true"), encoding="utf-8")  # it must be there
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert str(unit) not in done.stderr
    assert "Unknown" not in done.stderr


class Proxy:
    """nginx with the example, before a service."""

    def __init__(self, behind: Server, folder: Path) -> None:
        names = ("-keyout", "privkey.pem", "-out", "fullchain.pem", "-subj", f"/CN={NAME}")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names], cwd=folder, check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        text = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
        for given, here in (
            ("server 127.0.0.1:8000;", f"server 127.0.0.1:{behind.port};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
            ("/etc/ssl/zhseq", str(folder)),
        ):
            assert given in text
            text = text.replace(given, here)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        whole = f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temporary} {text} }}"
        (folder / "nginx.conf").write_text(whole, encoding="utf-8")
        command = ["nginx", "-c", folder / "nginx.conf", "-e", folder / "errors"]
        self.process = subprocess.Popen(command)
        self._context = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
        self._context.check_hostname = False  # old certificates name nobody else

    def ask(self, path: str, body: str = "", headers: str = "") -> tuple[int, str]:
        """Send a request on a connection of its own; return the status, and all that came."""
        kind = f"POST {path}" if body else f"GET {path}"
        head = f"{kind} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{headers}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
        with self._connected() as plain, self._context.wrap_socket(plain, server_hostname=NAME) as secure:
            secure.sendall(f"{head}\r\n{body}".encode())
            with secure.makefile("rb") as stream:
                received = stream.read().decode()
        return int(received.split(" ", 2)[1]), received

    def _connected(self) -> socket.socket:
        for _ in range(200):
            connection = socket.socket()
            connection.settimeout(30)
            if connection.connect_ex(("127.0.0.1", self.port)) == 0:
                return connection
            connection.close()
            assert self.process.poll() is None
            time.sleep(0.05)
        raise AssertionError


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Proxy, Server]]:
    options = ("--allow-host", NAME, "--trusted-proxy", "127.0.0.1")
    with server(*options) as behind:
        proxy = Proxy(behind, tmp_path)
        try:
            yield proxy, behind
        finally:
            proxy.process.terminate()
            proxy.process.wait(20)


@needs("nginx", "openssl")
def test_nginx_stands_before_the_service(proxied: tuple[Proxy, Server]) -> None:
    proxy, behind = proxied
    status, received = proxy.ask("/v1/tag", json.dumps({"text": "北京"}, ensure_ascii=False))
    assert status == 200
    assert '"text": "北京"' in received
    assert proxy.ask("/ready", headers="X-Forwarded-For: 6.6.6.6\r\n")[0] == 200
    assert proxy.ask("/metrics")[0] == 403
    assert proxy.ask("/v1/tag", json.dumps({"text": "x" * 1_500_000}))[1].count('"too_large"') == 1
    statuses = [proxy.ask("/health")[0] for _ in range(60)]
    assert set(statuses) <= {200, 429}
    code, logged = behind.stop()
    assert code == 0
    assert {line["client"] for line in logged if line["event"] == "request"} == {"127.0.0.1"}  # and not 6.6.6.6
