"""What `opsrunbooks init` writes works at once, and nothing that is there is overwritten."""

from __future__ import annotations

import http.server
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest

from pytest_opsrunbooks import config
from pytest_opsrunbooks import scaffold
from pytest_opsrunbooks.errors import ScaffoldError
from pytest_opsrunbooks.runbooks.catalog import Catalog

ROOT = pathlib.Path(__file__).parents[1]
URL = "https://shop.example.org/health?a=b&c=%20"


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "data" / "orders.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    connection.close()
    return path


@pytest.fixture
def site():
    class Handler(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_GET(self):
            self.send_response(self.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/health", Handler
    server.shutdown()
    server.server_close()
    thread.join()


def sweep(directory):
    """The exit status and the output of a sweep in the folder, as its owner would start it."""
    without = [
        argument
        for name in ("hypothesispytest", "anyio", "cacheprovider")
        for argument in ("-p", f"no:{name}")
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", *without],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def written(directory, target, **options):
    return [path.relative_to(directory).as_posix() for path in scaffold.init(directory, target, **options)]


def test_what_is_written_for_a_url(tmp_path):
    assert written(tmp_path, URL) == [
        "opsrunbooks.toml",
        "pytest.ini",
        "checks/shop_example_org/conftest.py",
        "checks/shop_example_org/test_shop_example_org.py",
        "runbooks/shop_example_org/unreachable.md",
    ]
    loaded = config.load(tmp_path / "opsrunbooks.toml", {}, {})
    assert loaded.systems["shop_example_org"].settings.url == URL
    catalog = Catalog(loaded.runbooks)
    assert [page.problems for page in catalog.pages()] == [()]
    assert catalog.get("shop_example_org/unreachable").severity == "p0"


def test_what_is_written_for_a_sqlite_file(tmp_path, database, monkeypatch):
    monkeypatch.chdir(database.parent)
    assert written(tmp_path / "ops", "orders.db") == [
        "opsrunbooks.toml",
        "pytest.ini",
        "checks/orders/conftest.py",
        "checks/orders/test_orders.py",
        "runbooks/orders/damaged.md",
    ]
    loaded = config.load(tmp_path / "ops" / "opsrunbooks.toml", {}, {})
    assert loaded.systems["orders"].settings.database == database
    assert Catalog(loaded.runbooks).get("orders/damaged").problems == ()


def test_the_url_s_sweep_is_healthy_and_critical_when_the_site_is_not(tmp_path, site):
    url, handler = site
    scaffold.init(tmp_path, url)
    status, output = sweep(tmp_path)
    assert status == 0, output
    handler.status = 500
    status, output = sweep(tmp_path)
    assert status == 2, output
    assert "unreachable" in output


def test_the_sqlite_file_s_sweep_is_healthy_and_critical_when_the_file_is_not(tmp_path, database):
    scaffold.init(tmp_path / "ops", str(database))
    status, output = sweep(tmp_path / "ops")
    assert status == 0, output
    database.write_bytes(b"no database " * 1000)
    status, output = sweep(tmp_path / "ops")
    assert status == 2, output
    assert "damaged" in output


@pytest.mark.skipif(
    shutil.which("ruff", path=str(pathlib.Path(sys.executable).parent)) is None, reason="no ruff here"
)
@pytest.mark.parametrize("target", [URL, "https://a-quite-long-name-of-a-host.example.org/", "orders.db"])
def test_the_code_is_as_clean_as_our_own(tmp_path, database, monkeypatch, target):
    monkeypatch.chdir(database.parent)
    scaffold.init(tmp_path / "ops", target)
    ruff = [shutil.which("ruff", path=str(pathlib.Path(sys.executable).parent))]
    settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for command in (["check"], ["format", "--diff"]):
        ran = subprocess.run(
            [*ruff, *command, *settings, str(tmp_path / "ops")], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_nothing_that_is_there_is_overwritten_and_nothing_else_is_written(tmp_path):
    (tmp_path / "pytest.ini").write_text("mine")
    with pytest.raises(ScaffoldError, match=r"already there: .*pytest\.ini; write elsewhere"):
        scaffold.init(tmp_path, URL)
    assert [path.name for path in tmp_path.iterdir()] == ["pytest.ini"]
    assert (tmp_path / "pytest.ini").read_text() == "mine"


def test_force_overwrites(tmp_path):
    (tmp_path / "pytest.ini").write_text("mine")
    scaffold.init(tmp_path, URL, force=True)
    assert "testpaths" in (tmp_path / "pytest.ini").read_text()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ftp://example.org", "is no web address"),
        ("https://", "is no web address"),
        ("https://a b", "is no web address"),
        ("https://[::1", "is no URL"),
        ("https://u:hunter2@example.org", r"url = \{ env = "),
        ("shop.example.org/health", r"did you mean https://shop\.example\.org/health\?"),
        ("nope.db", "nope.db does not exist"),
        (".", "is not a regular file"),
        ("text.db", "is no SQLite database"),
        ("a\nb", "cannot be written into a file"),
    ],
)
def test_a_target_that_is_neither_is_refused(tmp_path, monkeypatch, target, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.db").write_text("no database")
    with pytest.raises(ScaffoldError, match=message) as caught:
        scaffold.init(tmp_path / "ops", target)
    assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "ops").exists()


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("www.example.org", "example_org"),
        ("127.0.0.1:8000", "host_127_0_0_1"),
        ("[::1]:80", "host_1"),
        ("http", "http_system"),
        ("answer", "answer_system"),
        ("class", "class_system"),
        ("x" * 60, "x" * 30),
    ],
)
def test_names_can_be_arguments_of_probes(tmp_path, host, name):
    assert f"checks/{name}/conftest.py" in written(tmp_path, f"https://{host}/")
    assert name in config.load(tmp_path / "opsrunbooks.toml", {}, {}).systems
