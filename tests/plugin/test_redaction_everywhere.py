"""A secret that the configuration led to, and one in a URL, turn up in no output, wherever they were put."""

from __future__ import annotations

import base64
import pathlib
import sqlite3
import urllib.parse

import pytest

from tests.conftest import Suite

SECRET = "S3ntinel/value+of&the=env"
PASSWORD = "Pa55-in-the-url"

CONFIGURATION = """
[opsrunbooks]
runbooks = ["runbooks"]
[systems.web]
token = { env = "WEB_TOKEN" }
url = "http://operator:%s@127.0.0.1:1/x"
"""

PROBES = """
import dataclasses, logging, warnings

@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen(Observation):
    text: str
    raw: bytes
    headers: dict[str, str]
    def metrics(self): return {f"size_of_{self.text}": 1.0}

@probe
def seen(web):
    text = str(web.token)
    return Seen(text=text, raw=text.encode(), headers={"X-Odd": text, "Authorization": "Bearer " + text}, error=None)

@probe
async def site(http, web):
    return await http.get(web.url, headers={"Authorization": "Basic " + web.token})

@probe(params=lambda config: [str(config.web.token)])
def named(param): return param

@probe
def raising(web):
    raise OSError("cannot log in with " + web.token + " at " + web.url)
"""

CHECKS = """
import logging, sys, warnings

@p0
def test_of_the_observation(seen):
    assert seen.text == "something else"
@p0
def test_of_the_bytes(seen):
    assert seen.raw == b"x", seen
@p0
def test_of_the_headers(seen):
    assert seen.headers == {}
@p0
def test_of_the_site(site, web):
    assert site.error is None, web.url
@p0
def test_of_the_parameter(named):
    assert named == "x"
@p0
def test_of_the_exception(raising): pass
@p0
def test_that_raises(web):
    raise RuntimeError("no " + web.token)
@p0
def test_that_talks(web, record_property):
    record_property("token", str(web.token))
    record_property(str(web.token), 1)
    print("out", web.token, web.url)
    print("err", web.token, file=sys.stderr)
    logging.getLogger("x").warning("log %s %s", web.token, web.url)
    assert False, "talked about " + web.token
@p0
def test_that_warns(web):
    warnings.warn("warned of " + web.token + " " + web.url)
    assert web.token == ""
@p0
def test_that_skips(web):
    pytest.skip("skipped for " + web.token)
@p0
def test_that_fails(web):
    pytest.fail("failed for " + web.token + web.url)
@p0
def test_the_settings(web):
    assert web == 1
@pytest.fixture
def torn(web):
    yield
    raise RuntimeError("teardown of " + web.token)
@p0
def test_that_is_torn_down(torn): pass
"""


def forms(secret: str) -> set[str]:
    """How a leaked secret may be written."""
    quoted = {urllib.parse.quote(secret, safe=safe) for safe in ("", "/")}
    encoded = {base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]}
    return {secret, repr(secret)[1:-1], secret.replace("&", "&amp;"), *quoted, *encoded}


def assert_nothing_leaks(text: str, place: str) -> None:
    for secret in (SECRET, PASSWORD):
        for form in forms(secret):
            at = text.find(form)
            assert at < 0, f"{place} holds {form!r}: …{text[max(0, at - 300) : at + 60]}"


@pytest.fixture
def talkative(suite: Suite) -> Suite:
    suite.configure(CONFIGURATION % PASSWORD)
    suite.environment["WEB_TOKEN"] = SECRET
    suite.probes(PROBES)
    suite.checks(CHECKS)
    return suite


def outputs(suite: Suite) -> list[pathlib.Path]:
    """What the run wrote, without what the test did."""
    return [f for f in (suite.root / "out").rglob("*") if f.is_file()] + [suite.json_path]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-v",),
        ("-vv", "-rA", "--tb=long", "--showlocals"),
        ("-q",),
        ("-qq",),
        ("-rA", "--tb=short"),
        ("--tb=native",),
        ("--tb=line", "-rA"),
        ("-s",),
        ("-o", "log_cli=true", "-o", "log_cli_level=INFO"),
        ("--full-trace", "-rA"),
        ("--durations=0", "-vv"),
        ("-n2", "-vv", "-rA", "--showlocals", "--tb=long"),
        ("-x",),
    ],
    ids=" ".join,
)
def test_no_secret_reaches_the_terminal(talkative: Suite, arguments: tuple[str, ...]) -> None:
    ran = talkative.run(*arguments)

    assert ran.status in {2, 3}, ran.output
    if "-s" in arguments or any("log_cli" in argument for argument in arguments):
        # What a check itself writes to the terminal at once, past every report, is its own.
        ran = talkative.run(*arguments, "-k", "not talks and not warns")
    assert_nothing_leaks(ran.output, " ".join(arguments))


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["one process", "workers"])
def test_no_secret_reaches_a_file(talkative: Suite, workers: tuple[str, ...]) -> None:
    ran = talkative.run(
        *workers,
        "--junit-xml=out/junit.xml",
        "-o", "junit_logging=all",
        "--html=out/report.html",
        "--ops-snapshot=out/snapshot.jsonl",
        "--ops-ledger=out/ledger.db",
        "--log-file=out/none.log", "--log-file-level=CRITICAL",
    )  # fmt: skip

    assert ran.status in {2, 3}, ran.output
    written = outputs(talkative)
    assert {"junit.xml", "report.html", "snapshot.jsonl", "ledger.db", "result.json"} <= {
        f.name for f in written
    }
    for file in written:
        assert_nothing_leaks(file.read_bytes().decode("latin-1"), file.name)
    with sqlite3.connect(talkative.root / "out" / "ledger.db") as database:
        assert_nothing_leaks("\n".join(database.iterdump()), "the ledger's rows")
    database.close()


def test_no_secret_reaches_a_captured_page(talkative: Suite) -> None:
    ran = talkative.command("snapshot", "-o", "out/s.jsonl")

    assert ran.status == 1, ran.output
    assert_nothing_leaks(ran.output, "the terminal")
    for name in ("s.jsonl", "s.md"):
        assert_nothing_leaks((talkative.root / "out" / name).read_text(), name)


def test_no_secret_is_told_by_an_error_of_collection(talkative: Suite) -> None:
    talkative.probes("@probe(params=lambda config: int(config.web.token))\ndef thing(param): return 1\n")
    talkative.checks("@p0\ndef test_it(thing): pass\n")
    talkative.write(
        "checks/web/test_import.py",
        f"import os\nraise RuntimeError('no ' + os.environ['WEB_TOKEN'] + '{PASSWORD}')\n",
    )

    ran = talkative.run("-vv", "--tb=long")

    assert ran.status == 3, ran.output
    assert_nothing_leaks(ran.output.replace(f"'{PASSWORD}'", ""), "the terminal")
    assert_nothing_leaks(talkative.json_path.read_text().replace(f"'{PASSWORD}'", ""), "the result")


def test_a_secret_is_known_also_where_no_system_folder_asked_for_it(suite: Suite) -> None:
    suite.configure(CONFIGURATION % PASSWORD)
    suite.environment["WEB_TOKEN"] = SECRET
    suite.write(
        "checks/test_top.py",
        "import pytest\n@pytest.mark.p3\ndef test_it(web):\n    assert web.token == 1, web.token + web.url\n",
    )

    ran = suite.run("-vv")

    assert ran.status == 1, ran.output
    assert_nothing_leaks(ran.output, "the terminal")


def test_an_internal_error_tells_no_secret(talkative: Suite) -> None:
    talkative.write(
        "conftest.py",
        "import os\ndef pytest_runtest_logfinish():\n    raise RuntimeError('broken ' + os.environ['WEB_TOKEN'])\n",
    )

    ran = talkative.run()

    assert ran.status in {2, 3}
    assert "broken [redacted]" in ran.output
    assert_nothing_leaks(ran.output, "the terminal")
    assert_nothing_leaks(talkative.json_path.read_text(), "the result")


def test_a_replay_of_redacted_observations_still_judges(talkative: Suite) -> None:
    talkative.checks("@p0\ndef test_it(seen): assert len(seen.headers) == 2\n")
    talkative.run("--ops-snapshot", "out/s.jsonl")
    del talkative.environment["WEB_TOKEN"]

    ran = talkative.run("--ops-replay", "out/s.jsonl")

    assert ran.status == 0, ran.output
