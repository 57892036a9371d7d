"""Downloads: from the first mirror that answers, going on where a broken one stopped, checked before they are kept."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import SteepestError

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
    """SteepestError where an address is not https; a server on this machine may do without."""
    if not address.startswith("https://") and not (address.startswith("http://") and _is_here(address)):
        raise SteepestError(f"The mirror {address} is not https; give an address that begins with https://.")


def _is_here(address: str) -> bool:
    """Whether an address is of this machine."""
    with contextlib.suppress(ValueError):  # of what is no address
        host = urlsplit(address).hostname or ""
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
        done = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        hooks = {"response": _check_redirect}
        with requests.get(url, headers=headers, stream=True, timeout=30, hooks=hooks) as answer:
            if answer.status_code == 416:  # the part is whole already
                shutil.move(part, output_file)
                return
            answer.raise_for_status()
            if answer.status_code != 206:
                done = 0
            total = done + int(answer.headers.get("Content-Length", 0))
            with part.open("ab" if done else "wb") as file:
                for block in answer.iter_content(1 << 16):
                    done += len(block)
                    if done > self.most:
                        part.unlink()
                        raise SteepestError(f"it sends more than the {self.most} bytes that {name} can have")
                    file.write(block)
                    self.progress(name, done, total)
            if done < total:
                raise requests.ConnectionError(f"the connection ended after {done} of {total} bytes; run it again to go on")
        shutil.move(part, output_file)
