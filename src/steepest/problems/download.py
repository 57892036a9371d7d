"""Downloads: from the first mirror that answers, going on where a broken one stopped, checked before they are kept."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

from ..errors import SteepestError

ADDRESS = re.compile(r"https?://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[!-\[\]-~]*)?", re.ASCII | re.IGNORECASE)
Progress = Callable[[str, int, int], None]  # file, bytes here, bytes in all (0 where the mirror does not say)


def folder(name: str) -> Path:
    """Where a data set lies: its folder in $STEEPEST_DATA, or in the user's cache."""
    import pooch

    local = os.environ.get("STEEPEST_DATA")
    return (Path(local) if local else pooch.os_cache("steepest")) / name


def retrieve(
    name: str, here: Path, mirrors: Sequence[str], check: Callable[[Path], object], most: int, progress: Progress
) -> None:
    """Download the file `name`, of `most` bytes at most, into a folder.

    `check` raises SteepestError where its content is wrong, and it is not kept. SteepestError for a mirror that is not https,
    and with what each mirror said where none could give the file.
    """
    for mirror in mirrors:
        _check_address(mirror)
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # what is told is told by `progress` and by the result
    target, problems = here / name, []
    for mirror in mirrors:
        try:
            here.mkdir(parents=True, exist_ok=True)
            pooch.retrieve(f"{mirror.rstrip('/')}/{name}", None, name, here, downloader=_Resuming(here, most, progress))
            check(target)
        except (requests.RequestException, SteepestError, OSError) as error:
            problems.append(f"{mirror}: {error}")
            if isinstance(error, SteepestError):
                target.unlink(missing_ok=True)
            continue
        return
    raise SteepestError(f"{name} could not be had from any mirror. {' | '.join(problems)}")


def _check_address(address: str) -> None:
    """SteepestError where an address is not https; a server on this machine may do without.

    It is read strictly: where there is a user's name, a backslash or a control character, two readers may find two hosts.
    """
    if address.startswith("https://") and not ADDRESS.fullmatch(address):
        raise SteepestError(f"The mirror {address} is no plain address; give https://HOST/PATH, without a user's name.")
    if not address.startswith("https://") and not _is_here(address):
        raise SteepestError(f"The mirror {address} is not https; give an address that begins with https://.")


def _is_here(address: str) -> bool:
    """Whether an address is of this machine."""
    plain = ADDRESS.fullmatch(address)
    host = plain["host"].lower().strip("[]") if plain else ""
    with contextlib.suppress(ValueError):  # of a host that is no number
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False


def _check_redirect(answer: Any, *_: Any, **__: Any) -> None:
    """SteepestError where a mirror sends elsewhere than to https, or to this machine, before anything is asked there."""
    if not answer.is_redirect:
        return
    try:
        target = urljoin(answer.url, answer.headers["Location"])
    except ValueError as error:
        raise SteepestError(f"it sends to {answer.headers['Location']}, which is no address") from error
    _check_address(target)
    if _is_here(target) and not _is_here(answer.url):
        raise SteepestError(f"it sends to {target}, which is this machine")


class _Resuming:
    """A pooch downloader that keeps a `.part` file and asks the server for the rest of it."""

    def __init__(self, here: Path, most: int, progress: Progress) -> None:
        self.here, self.most, self.progress = here, most, progress

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        name = url.rsplit("/", 1)[1]
        part = self.here / f"{name}.part"
        done = _begun(part)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        hooks = {"response": _check_redirect}
        with requests.get(url, headers=headers, stream=True, timeout=30, hooks=hooks) as answer:
            if answer.status_code == 416:  # the part is whole already
                shutil.move(part, output_file)
                return
            answer.raise_for_status()
            if answer.status_code != 206 and done:
                part.unlink()
                done = 0
            total = done + _length(answer.headers.get("Content-Length", "0"))
            self._check_size(total, name)
            with _appended(part) as file:
                for block in answer.iter_content(1 << 16):
                    done += len(block)
                    if done > self.most:
                        part.unlink()
                    self._check_size(done, name)
                    file.write(block)
                    self.progress(name, done, total)
            if done < total:
                raise requests.ConnectionError(f"the connection ended after {done} of {total} bytes; run it again to go on")
        shutil.move(part, output_file)

    def _check_size(self, size: int, name: str) -> None:
        if size > self.most:
            raise SteepestError(f"it sends more than the {self.most} bytes that {name} can have")


def _begun(part: Path) -> int:
    """How many bytes of a file an earlier download left; anything else in its place, such as a link, is removed."""
    try:
        there = os.lstat(part)
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(there.st_mode) and there.st_nlink == 1:
        return there.st_size
    part.unlink()
    return 0


def _appended(part: Path) -> BinaryIO:
    """A file to write on at its end; never what a link leads to."""
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666), "ab")


def _length(said: str) -> int:
    """The length that a mirror says; SteepestError where that is none."""
    if not re.fullmatch("[0-9]{1,18}", said):
        raise SteepestError(f"it says that the file has {said!r} bytes, which is no length")
    return int(said)
