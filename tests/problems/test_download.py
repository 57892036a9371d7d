"""Untrusted downloads: their address, their size, their unpacked size, and existing files."""

import contextlib
import gzip
import http.server
import io
import os
import re
import tarfile
import tracemalloc
from functools import partial
from urllib.parse import quote, unquote

import pytest
from typer.testing import CliRunner

from steepest.cli import app
from steepest.errors import SteepestError
from steepest.problems import download
from steepest.problems.built_in import cifar10, mnist
from tests.cases import serving

LABELS = "t10k-labels-idx1-ubyte"
BOMB = 300 * 2**20  # limit on the unpacked size of a 300 kB file
ALLOWED = 70 * 2**20  # twice the largest file of either data set, plus the interpreter


DECEITS = [  # addresses in which two parsers find two hosts, one of them this machine
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://127.0.0.1@example.com/",
    "http://me:word@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1%2eexample.com/",
    "http://１27.0.0.1/",
    "http://127.0.0.1:80:90/",
    "HTTP ://127.0.0.1/",
    "//127.0.0.1/",
]


def fetch(*arguments):
    return CliRunner().invoke(app, ["data", "fetch", *arguments])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "cifar10").mkdir()
    return tmp_path


@pytest.fixture
def server(tmp_path):
    """Serves /big, redirects /away to a non-https address and /to/ADDRESS there; /says/N declares that length."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            if self.path.startswith("/away"):
                self.send_response(302)
                self.send_header("Location", "http://192.0.2.1/elsewhere")  # reserved: no server there
                self.end_headers()
                return
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", unquote(self.path.removeprefix("/to/").rsplit("/", 1)[0]))
                self.end_headers()
                return
            self.send_response(200)
            said = self.path.removeprefix("/says/").rsplit("/", 1)[0] if self.path.startswith("/says/") else str(10**6)
            self.send_header("Content-Length", said)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(bytes(10**6))

    with serving(Handler) as made:
        yield made.url.rstrip("/")


@pytest.mark.parametrize(
    "mirror",
    ["http://example.com/", "ftp://example.com/", "example.com", "http://127.0.0.1.example.com/", "http://[", *DECEITS],
)
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_mirror_that_is_not_https_is_refused_before_anything_is_asked(name, mirror, here):
    result = fetch(name, "--mirror", mirror)
    assert result.exit_code == 2
    assert f"The mirror {mirror} is not https; give an address that begins with https://." in result.stderr


def test_a_mirror_that_sends_elsewhere_than_to_https_is_not_followed(server, here):
    result = fetch("mnist", "--mirror", f"{server}/away/")
    assert result.exit_code == 2
    assert "http://192.0.2.1/elsewhere is not https" in result.stderr


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:1/"])
def test_a_remote_mirror_cannot_send_to_nowhere_or_to_this_machine(location):
    class Answer:
        is_redirect, url, headers = True, "https://example.com/file", {"Location": location}

    with pytest.raises(
        SteepestError, match=r"it redirects to http://(\[, which is not an address|127.0.0.1:1/, which is this machine)"
    ):
        download._check_redirect(Answer())


def test_a_file_that_is_longer_than_it_can_be_is_given_up(server, here):
    with pytest.raises(SteepestError, match="sends more than 1000 bytes, the limit for big"):
        download.retrieve("big", here, (server,), partial(pytest.fail, "it was kept"), 1000, lambda *_: None)
    assert not list(here.glob("big*"))


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("abc", "it announces a file of 'abc' bytes, which is not a length"),
        ("-1", "'-1' bytes, which is not a length"),
        ("1e3", "'1e3' bytes, which is not a length"),
        ("9" * 18, "it sends more than 1000 bytes, the limit for big"),
        ("9" * 5000, "bytes, which is not a length"),
        ("٣", "bytes, which is not a length"),
    ],
)
def test_a_length_that_is_none_or_too_much_is_one_sentence(server, here, length, words):
    with pytest.raises(SteepestError, match=re.escape(words)):
        download.retrieve("big", here, (f"{server}/says/{quote(length)}",), pytest.fail, 1000, lambda *_: None)
    assert not list(here.glob("big*"))


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "http://example.com\\@127.0.0.1/",
        "data:,x",
        "https://a@b/",
    ],
)
def test_a_mirror_cannot_send_to_another_scheme_or_a_hidden_host(server, here, location):
    with pytest.raises(SteepestError, match=r"is not https|is not a plain address"):
        download.retrieve("big", here, (f"{server}/to/{quote(location, safe='')}",), pytest.fail, 1000, lambda *_: None)


@pytest.mark.parametrize(
    "mirror", ["https://example.com\\@127.0.0.1/", "https://me@example.com/", "https://exa mple.com/", "https://"]
)
def test_an_address_that_is_not_plain_is_refused_before_anything_is_asked(mirror, here):
    with pytest.raises(SteepestError, match="is not a plain address"):
        download.retrieve("big", here, (mirror,), pytest.fail, 1000, lambda *_: None)


@pytest.mark.parametrize("link", ["symbolic", "hard", "to nothing", "pipe"])
def test_what_a_part_links_to_is_neither_emptied_nor_written(server, here, link):
    (here / "precious").write_text("mine")
    part = here / "big.part"
    if link == "hard":
        part.hardlink_to(here / "precious")
    elif link == "pipe":
        os.mkfifo(part)
    else:
        part.symlink_to(here / ("precious" if link == "symbolic" else "absent"))
    download.retrieve("big", here, (server,), lambda path: None, 10**6, lambda *_: None)
    assert (here / "precious").read_text() == "mine"
    assert not (here / "absent").exists()
    assert not (here / "big").is_symlink()
    assert (here / "big").read_bytes() == bytes(10**6)


def memory_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refuse(work, words):
    with pytest.raises(SteepestError, match=words):
        work()


def test_what_a_small_file_unpacks_to_is_bounded(here):
    bomb = gzip.compress(bytes(BOMB))
    assert len(bomb) < 400_000
    (here / "mnist" / f"{LABELS}.gz").write_bytes(bomb)
    (here / "cifar10" / f"{cifar10.TRAIN[0]}.gz").write_bytes(bomb)

    assert memory_of(lambda: refuse(lambda: mnist.read(LABELS), "corrupted")) < ALLOWED
    assert memory_of(lambda: refuse(lambda: cifar10.read(cifar10.TRAIN), "corrupted")) < ALLOWED


def archive_of(path, size):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"cifar-10-batches-bin/{cifar10.TRAIN[0]}")
        member.size = size
        archive.addfile(member, io.BytesIO(bytes(size)))


def test_an_archive_that_lies_there_is_checked(here):
    archive = here / "cifar10" / cifar10.ARCHIVE
    archive_of(archive, cifar10.RECORD)
    before = archive.read_bytes()
    result = fetch("cifar10")
    assert result.exit_code == 2
    assert "has the checksum" in result.stderr
    assert "Remove it and fetch it again." in result.stderr
    assert archive.read_bytes() == before
    assert list((here / "cifar10").iterdir()) == [archive]


def test_what_an_archive_holds_is_bounded_too(here, monkeypatch):
    archive = here / "cifar10" / cifar10.ARCHIVE
    archive_of(archive, BOMB)
    monkeypatch.setattr(cifar10, "_check", lambda path: None)  # if a checksum were forged
    assert memory_of(lambda: refuse(cifar10.fetch, f"of {BOMB} bytes; expected")) < ALLOWED


def test_the_lengths_of_files_that_lie_there_are_checked_and_no_more_is_claimed(here):
    for name in (*cifar10.TRAIN, cifar10.TEST[0]):
        (here / "cifar10" / name).write_bytes(bytes(2 * cifar10.RECORD))
    result = fetch("cifar10")
    assert result.exit_code == 0
    assert "nothing to fetch, their lengths are correct (only the archive has a checksum)" in result.stdout
    (here / "cifar10" / cifar10.TRAIN[2]).write_bytes(bytes(cifar10.RECORD + 1))
    result = fetch("cifar10")
    assert result.exit_code == 2
    assert "data_batch_3.bin is corrupted" in result.stderr
