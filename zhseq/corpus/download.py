"""Download files over connections that break: keep what has arrived, and ask for the rest by HTTP Range."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from zhseq.errors import FULL_DISK, CorpusError

_ATTEMPTS = 5
_PAUSE = 1.0
"""Seconds before the first new attempt; each further pause is twice as long."""
_TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""
_BLOCK = 1 << 18
_HEADERS = {"User-Agent": "zhseq", "Accept-Encoding": "identity"}


def download(url: str, target: Path, *, pause: float = _PAUSE) -> None:
    """Download `url` to `target`, which appears only when it is complete.

    Bytes are gathered in `target` + `.part`. A broken connection is taken up again where it broke, by this call up to
    five times and by any later call, unless the server sends the whole file again.

    Args:
        url: address, http or https.
        target: file to write; a file that is there already is taken as it is.
        pause: seconds before the first new attempt.

    Raises:
        CorpusError: the address is none, or the server refused or stayed out of reach; the message says how to go on.
    """
    if target.exists():
        return
    if not url.startswith(("http://", "https://")):
        raise CorpusError(
            "no_web_address", "{url}: expected an address that begins with http:// or https://; check --url.", url=url
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            _continue(url, part)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise CorpusError(
                    "download_refused",
                    "{url}: expected a file, found HTTP status {status}; "
                    "take the archive from a directory with --from or from a mirror with --url.",
                    url=url,
                    status=error.code,
                ) from None
            problem = f"HTTP status {error.code}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and (error.filename is not None or error.errno in FULL_DISK):
                raise  # the local file, not the connection
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        except ValueError as error:
            raise CorpusError(
                "no_file_address",
                "{url}: expected the address of a file, found none ({reason}); check --url.",
                url=url,
                reason=error,
            ) from None
        else:
            part.replace(target)
            return
    raise CorpusError(
        "download_interrupted",
        "{url}: expected the whole file, but the connection failed {attempts} times ({problem}); "
        "run the command again to go on from where it broke, or use --from or --url.",
        url=url,
        attempts=_ATTEMPTS,
        problem=problem,
    )


def _continue(url: str, part: Path) -> None:
    """Fetch what is missing of a partial file.

    Raises:
        OSError: or `http.client.HTTPException`, when the connection breaks; what came before is in the file.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {**_HEADERS, "Range": f"bytes={have}-"} if have else _HEADERS
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # the last attempt broke after the last byte
        part.unlink()
        raise ConnectionError("the file on the server has changed") from None
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise ConnectionError("the server sent another range than it was asked for")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _copy(response, part, have, total)


def _copy(response: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    """Append the body of a response to the first `have` bytes of the partial file.

    Raises:
        ConnectionError: fewer bytes came than were announced.
    """
    name = part.name.removesuffix(".part")
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(desc=name, initial=have, total=total, unit="B", unit_scale=True, disable=None) as bar,
    ):
        while block := response.read(_BLOCK):
            file.write(block)
            bar.update(len(block))
            have += len(block)
    if total is not None and have < total:
        raise ConnectionError(f"{have} of {total} bytes came")
