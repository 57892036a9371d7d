"""MNIST: fetched from a loopback server, checked, resumed; and the real data if available."""

import http.server
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from steepest.cli import app
from steepest.errors import SteepestError
from steepest.problems.built_in import mnist
from tests.cases import serving

LABELS, IMAGES = "t10k-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, supports ranges, and can disconnect in the middle of one."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        file = Path(self.directory) / self.path.lstrip("/")
        if not file.exists():
            self.send_error(404)
            return
        content = file.read_bytes()
        begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers.get("Range") else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        end = len(content)
        if self.path == self.server.cut:
            self.server.cut, end = None, len(content) // 2
        self.wfile.write(content[begin:end])


@pytest.fixture
def server(mnist_folder):
    with serving(partial(Handler, directory=str(mnist_folder / "mnist"))) as made:
        made.asked, made.cut = [], None
        yield made


@pytest.fixture
def empty(tmp_path, monkeypatch, server):
    """An empty $STEEPEST_DATA; the server still serves the real folder."""
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    return tmp_path


def test_fetch_downloads_four_files_once(server, empty):
    command = ["data", "fetch", "mnist", "--mirror", server.url]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "4 files fetched, all checksums are correct" in first.stdout
    assert sorted(p.name for p in (empty / "mnist").iterdir()) == sorted(f"{n}.gz" for n in mnist.CONTENT)
    assert "nothing to fetch" in CliRunner().invoke(app, command).stdout
    again = json.loads(CliRunner().invoke(app, [*command, "--json", "-"]).stdout)
    assert again == {"name": "mnist", "folder": str(empty / "mnist"), "fetched": []}
    assert len(server.asked) == 4


def test_a_broken_download_goes_on_where_it_stopped(server, empty):
    server.cut = f"/{IMAGES}"
    with pytest.raises(SteepestError, match=r"t10k-images.* could not be downloaded"):
        mnist.fetch((server.url,))
    half = (empty / "mnist" / f"{IMAGES}.part").stat().st_size
    assert half > 0
    seen = []
    _, fetched = mnist.fetch((server.url,), lambda *progress: seen.append(progress))
    assert fetched == [IMAGES, LABELS]
    assert (f"/{IMAGES}", f"bytes={half}-") in server.asked
    whole = (empty / "mnist" / IMAGES).stat().st_size
    assert (IMAGES, whole, whole) in seen
    assert not list((empty / "mnist").glob("*.part"))


def test_the_next_mirror_is_asked_where_one_fails(server, empty):
    _, fetched = mnist.fetch((server.url + "absent/", server.url))
    assert len(fetched) == 4


def test_no_mirror_that_answers_gets_a_sentence(server, empty):
    result = CliRunner().invoke(app, ["data", "fetch", "mnist", "--mirror", server.url + "absent/"])
    assert result.exit_code == 2
    assert "could not be downloaded from any mirror" in result.stderr


def test_content_that_is_not_mnists_is_not_kept(server, empty, monkeypatch):
    monkeypatch.setitem(mnist.CONTENT, "train-images-idx3-ubyte", "0" * 64)
    with pytest.raises(SteepestError, match="could not be downloaded"):
        mnist.fetch((server.url,))
    assert not list((empty / "mnist").glob("*"))


def test_a_corrupted_file_gets_a_sentence(mnist_folder, tmp_path, monkeypatch):
    shutil.copytree(mnist_folder / "mnist", tmp_path / "mnist")
    target = tmp_path / "mnist" / LABELS
    target.chmod(0o644)
    target.write_bytes(target.read_bytes()[:-200])
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    with pytest.raises(SteepestError, match="corrupted"):
        mnist.read("t10k-labels-idx1-ubyte")


def test_mnist_is_read_whole_and_split_once(mnist_folder):
    problem = mnist.mnist_mlp()
    assert [len(s) for s in (problem.train, problem.valid, problem.test)] == [55_000, 5_000, 10_000]
    images, labels = problem.train.tensors
    assert images.shape == (55_000, 784)
    assert (images.min().item(), images.max().item()) == (0.0, 1.0)
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert problem.test.tensors[1][:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.slow
def test_mean_accuracies_lie_within_0_4_points_of_the_first_sources(mnist_folder):
    import steepest

    rates = {"sgd": 0.1, "momentum": 0.1, "adam": 0.001}
    asked = {"schedules": "constant", "lrs": rates, "steps": 3000, "seeds": 3}  # equal seeds: on test data, as in the source
    found = steepest.compare("mnist-mlp", list(rates), store=":memory:", **asked).to_dict()
    means = {o["name"]: o["mean"] for o in found["optimizers"]}
    assert means == pytest.approx({"sgd": 95.57, "momentum": 97.40, "adam": 97.21}, abs=0.4)
