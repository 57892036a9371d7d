"""Download files over https from the first mirror that works: resumable, limited in size, and checked before use."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from ..errors import SteepestError

ADDRESS = re.compile(r"https?://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[!-\[\]-~]*)?", re.ASCII | re.IGNORECASE)
Progress = Callable[[str, int, int], None]  # file, bytes downloaded, bytes in all (0 if the mirror does not say)


def folder(name: str) -> Path:
    """The folder of a data set: in $STEEPEST_DATA, or in the user's cache."""
    import platformdirs

    return Path(os.environ.get("STEEPEST_DATA") or platformdirs.user_cache_dir("steepest")) / name


def retrieve(
    name: str, here: Path, mirrors: Sequence[str], check: Callable[[Path], object], most: int, progress: Progress
) -> None:
    """Download the file `name`, of `most` bytes at most, into a folder. A broken download is resumed by the next call.

    `check` raises SteepestError for wrong content, which is then deleted. Raises SteepestError for a mirror that is not https,
    and, with the error of each mirror, if none has the file.
    """
    for mirror in mirrors:
        _check_address(mirror)
    import requests

    target, problems = here / name, []
    for mirror in mirrors:
        try:
            here.mkdir(parents=True, exist_ok=True)
            _download(f"{mirror.rstrip('/')}/{name}", target, most, progress)
            check(target)
        except (requests.RequestException, SteepestError, OSError) as error:
            problems.append(f"{mirror}: {error}")
            if isinstance(error, SteepestError):
                target.unlink(missing_ok=True)
            continue
        return
    raise SteepestError(f"{name} could not be downloaded from any mirror. {' | '.join(problems)}")


def _download(url: str, target: Path, most: int, progress: Progress) -> None:
    """Download to `target`, by way of a `.part` file next to it; an existing one is continued."""
    import requests

    part = target.with_name(f"{target.name}.part")
    done = _begun(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with requests.get(url, headers=headers, stream=True, timeout=30, hooks={"response": _check_redirect}) as answer:
        if answer.status_code != 416:  # else the part is complete
            answer.raise_for_status()
            if answer.status_code != 206 and done:
                part.unlink()
                done = 0
            length = answer.headers.get("Content-Length", "0")
            if not re.fullmatch("[0-9]{1,18}", length):
                raise SteepestError(f"it announces a file of {length!r} bytes, which is not a length")
            total = done + int(length)
            too_long = SteepestError(f"it sends more than {most} bytes, the limit for {target.name}")
            if total > most:
                raise too_long
            with open(os.open(part, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666), "ab") as file:
                for block in answer.iter_content(1 << 16):
                    done += len(block)
                    if done > most:
                        part.unlink()
                        raise too_long
                    file.write(block)
                    progress(target.name, done, total)
            if done < total:
                raise requests.ConnectionError(f"the connection ended after {done} of {total} bytes; run it again to resume")
    part.replace(target)


def _begun(part: Path) -> int:
    """The size of an unfinished download; anything there that is not a plain file, such as a link, is deleted."""
    try:
        there = part.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(there.st_mode) and there.st_nlink == 1:
        return there.st_size
    part.unlink()
    return 0


def _check_address(address: str) -> None:
    """Raise SteepestError unless an address is https, or of this machine.

    It is parsed strictly: parsers may disagree on the host of an address with a user name, a backslash or a control character.
    """
    if address.startswith("https://") and not ADDRESS.fullmatch(address):
        raise SteepestError(f"The mirror {address} is not a plain address; give https://HOST/PATH, without a user name.")
    if not address.startswith("https://") and not _is_local(address):
        raise SteepestError(f"The mirror {address} is not https; give an address that begins with https://.")


def _is_local(address: str) -> bool:
    """Whether an address is of this machine."""
    plain = ADDRESS.fullmatch(address)
    host = plain["host"].lower().strip("[]") if plain else ""
    with contextlib.suppress(ValueError):  # the host is not an IP address
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False


def _check_redirect(answer: Any, *_: Any, **__: Any) -> None:
    """Raise SteepestError for a redirect to another scheme than https, or from elsewhere to this machine."""
    if not answer.is_redirect:
        return
    try:
        target = urljoin(answer.url, answer.headers["Location"])
    except ValueError as error:
        raise SteepestError(f"it redirects to {answer.headers['Location']}, which is not an address") from error
    _check_address(target)
    if _is_local(target) and not _is_local(answer.url):
        raise SteepestError(f"it redirects to {target}, which is this machine")
