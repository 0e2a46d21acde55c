"""Command line `zhseq serve`: load the models and serve them over HTTP."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from zhseq.cli import Parser, add_backend, program, run_main
from zhseq.device import share_heap
from zhseq.errors import ConfigError, InputError, command_line
from zhseq.serve.settings import KEY_VARIABLE, Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

_BACKLOG = 512
_KEEP_ALIVE = 30  # seconds that a connection may stay open without a request
_SWITCH = 0.001  # seconds until a tagging thread yields the GIL to the event loop; the default is five times as long
_LAST_LINES = 1.0  # seconds to write the last lines of the log
_PACKAGES = ("httptools", "prometheus_client", "pydantic", "starlette", "uvicorn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, load the models, serve until a signal arrives, and return the exit status."""
    settings = parse(arguments)
    _check_extra()
    with ExitStack() as stack:
        # Listen before models are loaded: connections made meanwhile wait in the backlog.
        listeners = [stack.enter_context(_listen(settings.host, settings.port))]
        if settings.processes > 1:
            port = listeners.pop().getsockname()[1]
            stack.close()  # it has shown that the port is free
            listeners = [
                stack.enter_context(_listen(settings.host, port, shared=True)) for _ in range(settings.processes)
            ]
        _serve(settings, listeners, stack)
    return 0


def _serve(settings: Settings, listeners: list[socket.socket], stack: ExitStack) -> None:
    """Load the models and answer requests, in this process or in several."""
    from zhseq.serve.app import create_app

    share_heap()
    sys.setswitchinterval(_SWITCH)
    app = create_app(settings)
    if (torch := sys.modules.get("torch")) is not None:  # imported by a model
        torch.set_num_threads(1)  # each tagging thread uses one core
    _warm_up(app)
    gc.freeze()  # loaded objects are permanent: exclude them from garbage collection
    host, port = listeners[0].getsockname()[:2]
    print(f"zhseq: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    if settings.processes == 1:
        _answer(app, listeners[0])
        return
    from zhseq.serve.http import Visit
    from zhseq.serve.processes import Family, Peers

    folder = Path(stack.enter_context(TemporaryDirectory(prefix="zhseq-")))
    reading, writing = os.pipe()

    def work(number: int, ended: int | None) -> None:
        os.close(writing)
        Visit.process += f".{number + 1}"
        app.state.services.peers = Peers(folder, number, settings.processes, reading)
        _answer(app, listeners[number], process=number + 1, **({} if ended is None else {"ended": ended}))

    Family(settings.processes, work, settings.grace).run()


def _answer(app: Starlette, listener: socket.socket, **fields: int) -> None:
    """Answer requests until a signal arrives. `fields` are added to the log line of the start."""
    import uvicorn

    from zhseq.serve.metrics import log, start_logging
    from zhseq.serve.protocol import limited

    settings = app.state.services.settings
    lines = start_logging()
    app.state.services.metrics.watch("zhseq_dropped_log_lines", "Log lines dropped.", lambda: lines.dropped)
    config = uvicorn.Config(
        app,
        http=limited(settings.max_body, app.state.short_cut),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.grace)),
        backlog=_BACKLOG,
    )
    # After shutdown, uvicorn raises the signal that stopped it again: this is no failure.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    host, port = listener.getsockname()[:2]
    for doubt in settings.doubts():
        log("warning", code=doubt.code, message=doubt.render(command_line, "en"))
    log("start", host=host, port=port, **fields)
    try:
        uvicorn.Server(config).run(sockets=[listener])
        ended = app.state.services.ended
        log("stop", finished=ended)
    finally:
        lines.end(_LAST_LINES)
    if not ended:
        os._exit(0)  # a thread is still computing, and the interpreter must not be finalised meanwhile


def _check_extra() -> None:
    """Check that the packages of the extra are installed, before anything slow begins.

    Raises:
        ConfigError: A package is missing.
    """
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise ConfigError(
                "no_serve_extra",
                "the service needs the package {package}; install all that it needs with: pip install 'zhseq[serve]'",
                package=package,
            )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program("serve"), description="HTTP service for tagging and poems, with a web page.")
    default = Settings()
    where = parser.add_argument_group("network and access")
    where.add_argument(
        "--host",
        default=default.host,
        help=f"address to listen on (default: {default.host}); any other needs a key in {KEY_VARIABLE}",
    )
    where.add_argument(
        "--port", type=int, default=default.port, help=f"port; 0: any free one (default: {default.port})"
    )
    where.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="allow scripts of this origin (CORS); repeatable",
    )
    where.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="additional host name of the service; repeatable",
    )
    where.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address or network of a proxy whose X-Forwarded-For is used for client addresses",
    )
    models = parser.add_argument_group("models")
    models.add_argument("--tagger", metavar="PATH_OR_HUB_NAME", help="tagger (default: the shipped one)")
    models.add_argument("--poet", metavar="PATH_OR_HUB_NAME", help="poem model (default: the shipped one)")
    models.add_argument("--dict", dest="dictionary", metavar="FILE", help="user dictionary for all requests")
    add_backend(models)
    limits = parser.add_argument_group("limits")
    for name, kind, text in (
        ("processes", int, "processes on the same port"),
        ("threads", int, "tagging threads of each process, each on one core"),
        ("rate_limit", int, "requests per minute for each key, or for each address without keys; 0: unlimited"),
        ("max_body", int, "bytes per request"),
        ("max_characters", int, "characters per request"),
        ("max_texts", int, "texts per request"),
        ("queue_characters", int, "characters that may be queued"),
        ("queue_poems", int, "requests about poems that may be queued"),
        ("timeout", float, "seconds per request"),
        ("grace", float, "seconds to finish running requests on shutdown"),
    ):
        value = getattr(default, name)
        limits.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=value, metavar="N", help=f"{text} (default: {value:,})"
        )
    return parser


def parse(arguments: Sequence[str] | None) -> Settings:
    """Return the settings that a command line gives.

    Raises:
        ConfigError: A value is invalid, or the service would be open to other computers without a key.
    """
    values = vars(_parser().parse_args(arguments))
    origins, hosts = tuple(values.pop("allow_origin")), tuple(values.pop("allow_host"))
    proxies, keys = tuple(values.pop("trusted_proxy")), tuple(os.environ.get(KEY_VARIABLE, "").split())
    return Settings(**values, api_keys=keys, allowed_origins=origins, allowed_hosts=hosts, trusted_proxies=proxies)


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that listens on the port; several sockets can listen on a `shared` one.

    Raises:
        InputError: The system refuses: the port is in use or the address is not local, for example.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise InputError(
            "cannot_listen",
            "cannot listen on {host}, port {port}: {reason}; give another <host> or <port>",
            host=host,
            port=port,
            reason=error.strerror or str(error),
        ) from error
    return listener


def _warm_up(app: Starlette) -> None:
    """Use each model once, so that the first request does not wait for lazy initialisation."""
    here = app.state.services
    list(here.tagger.stream(["预热。"]))
    here.poet.write(form="五绝", about="春日登高望远")  # more than one word, so that the word segmenter is loaded
    if here.handbook is not None:
        here.handbook.character("看")


if __name__ == "__main__":
    run_main(main)
