"""opsrunbooks.toml: what it may say, and what a tired person is told when it says something else."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import textwrap
from collections.abc import Mapping
from typing import Literal

import pytest

from pytest_opsrunbooks import config
from pytest_opsrunbooks.errors import ConfigurationError
from pytest_opsrunbooks.errors import MissingSetting
from pytest_opsrunbooks.model import DEFAULT_POLICY
from pytest_opsrunbooks.model import Settings
from pytest_opsrunbooks.model import System
from pytest_opsrunbooks.redact import Secret


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    name: str
    url: str
    tier: Literal["national", "state"] = "state"
    timeout: float = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shop(Settings):
    data_dir: pathlib.Path
    database_url: str | None = None
    api_token: Secret | None = None
    endpoints: tuple[Endpoint, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


SHOP = System(name="shop", settings=Shop)


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "opsrunbooks.toml"
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    return written


@pytest.fixture
def load(write):
    def loaded(text, **environ):
        return config.load(write(text), {"shop": SHOP}, environ)

    return loaded


@pytest.fixture
def said(write, tmp_path):
    """The finished lines about what is wrong with a text, without the file's folder."""

    def problems(text, **environ):
        with pytest.raises(ConfigurationError) as caught:
            config.load(write(text), {"shop": SHOP}, environ)
        lines = [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]
        assert all(
            line.replace(f"{tmp_path}/", "") in str(caught.value).replace(f"{tmp_path}/", "")
            for line in lines
        )
        return lines

    return problems


class TestWhatIsRight:
    def test_an_empty_file_has_the_defaults(self, load, tmp_path):
        found = load("")
        assert found.path == tmp_path / "opsrunbooks.toml"
        assert (found.environment, found.runbooks, found.runbook_base_url) == ("production", (), None)
        assert (found.deadline_seconds, found.ledger, found.ledger_keep_days) == (None, None, 400)
        assert (dict(found.systems), found.secrets) == ({}, ())

    def test_everything_that_may_be_said(self, load, tmp_path):
        (tmp_path / "pages").mkdir()
        found = load("""
            [opsrunbooks]
            environment = "staging"
            runbooks = ["pages"]
            runbook_base_url = "https://ops.example.org/runbooks"
            deadline_seconds = 30
            ledger = "state/ledger.db"
            ledger_keep_days = 30

            [systems.shop]
            data_dir = "data"
            protected = true
            labels = { team = "sre" }
            [[systems.shop.endpoints]]
            name = "home"
            url = "https://example.org"
        """)
        assert (found.environment, found.deadline_seconds, found.ledger_keep_days) == ("staging", 30.0, 30)
        assert (found.runbooks, found.ledger) == ((tmp_path / "pages",), tmp_path / "state" / "ledger.db")
        assert found.runbook_base_url == "https://ops.example.org/runbooks/"
        binding = found.systems["shop"]
        assert (binding.declared, binding.lab, binding.policy) == (True, False, DEFAULT_POLICY)
        assert binding.settings == Shop(
            data_dir=tmp_path / "data",
            protected=True,
            labels={"team": "sre"},
            endpoints=(Endpoint(name="home", url="https://example.org"),),
        )

    def test_the_usual_folder_of_pages_needs_no_mention(self, load, tmp_path):
        (tmp_path / "runbooks").mkdir()
        assert load("").runbooks == (tmp_path / "runbooks",)

    def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(self, tmp_path):
        path = tmp_path / "opsrunbooks.toml"
        path.write_bytes(b'\xef\xbb\xbf[opsrunbooks]\r\nenvironment = "x"\r\n')
        assert config.load(path, {}, {}).environment == "x"

    def test_a_relative_file_has_absolute_paths(self, write, tmp_path, monkeypatch):
        write('[systems.shop]\ndata_dir = "data"')
        monkeypatch.chdir(tmp_path.parent)
        found = config.load(pathlib.Path(tmp_path.name, "opsrunbooks.toml"), {"shop": SHOP}, {})
        assert found.systems["shop"].settings.data_dir == tmp_path / "data"


class TestSecrets:
    def test_they_come_from_the_environment_and_from_files(self, load, tmp_path):
        (tmp_path / "token").write_text("hunter2-token\n")
        found = load(
            """
            [systems.shop]
            data_dir = "data"
            database_url = { env = "SHOP_URL" }
            api_token = { file = "token" }
            """,
            SHOP_URL="postgres://ops:hunter2@db/shop",
        )
        shop = found.systems["shop"].settings
        assert (shop.database_url, shop.api_token) == ("postgres://ops:hunter2@db/shop", "hunter2-token")
        assert set(found.secrets) == {"hunter2", "hunter2-token"}
        assert "hunter2-token" not in repr(found)

    def test_passwords_of_urls_that_stand_in_the_file_are_secrets_too(self, load):
        found = load("""
            [systems.shop]
            data_dir = "data"
            endpoints = [{ name = "home", url = "https://ops:p%40ss@example.org" }]
            [systems.wiki]
            deep = [{ url = "https://u:hunter2@example.org" }]
        """)
        assert set(found.secrets) == {"p%40ss", "p@ss", "hunter2"}

    def test_one_that_stands_in_the_file_is_refused_and_not_repeated(self, said):
        (line,) = said('[systems.shop]\ndata_dir = "data"\napi_token = "hunter2"')
        assert line.startswith(
            "opsrunbooks.toml:3: [systems.shop] api_token: a secret does not belong in this file"
        )
        assert "hunter2" not in line

    @pytest.mark.parametrize(
        ("reference", "message"),
        [
            ('{ env = "NOPE" }', "the environment variable NOPE is not set"),
            ('{ env = "SHOP_TOKN" }', "not set (did you mean 'SHOP_TOKEN'?)"),
            ('{ env = "EMPTY" }', "the environment variable EMPTY is empty"),
            ("{ env = 5 }", "expected env to be a name in quotes"),
            ('{ file = "nope" }', "nope cannot be read: no such file or directory"),
            ('{ file = "." }', "cannot be read: it is a folder"),
            ('{ file = "fifo" }', "cannot be read: it is not a regular file"),
            ('{ file = "empty" }', "empty is empty"),
            ('{ envv = "X" }', "a secret does not belong"),
        ],
    )
    def test_one_that_is_not_there_is_named(self, said, tmp_path, reference, message):
        (tmp_path / "empty").write_text("\n")
        os.mkfifo(tmp_path / "fifo")
        text = f'[systems.shop]\ndata_dir = "data"\napi_token = {reference}'
        (line,) = said(text, EMPTY="", SHOP_TOKEN="hunter2")
        assert line.startswith("opsrunbooks.toml:3: [systems.shop] api_token: ")
        assert message in line
        assert "hunter2" not in line


class TestASystemOfOnesOwn:
    TEXT = """
        [systems.wiki]
        url = "https://wiki.example.org"
        database = { path = "wiki.db" }
        token = { env = "WIKI_TOKEN" }
        ports = [80, 443]
        [systems.wiki.limits]
        disk = 0.9
        [[systems.wiki.nodes]]
        name = "a"
    """

    @pytest.fixture
    def binding(self, load):
        return load(self.TEXT, WIKI_TOKEN="hunter2").systems["wiki"]

    def test_its_keys_are_attributes(self, binding, tmp_path):
        wiki = binding.settings
        assert (wiki.url, wiki.database) == ("https://wiki.example.org", tmp_path / "wiki.db")
        assert (wiki.ports, wiki.limits.disk, wiki.nodes[0].name) == ((80, 443), 0.9, "a")
        assert wiki.token == "hunter2"
        assert "hunter2" not in repr(wiki)
        assert (binding.declared, wiki.protected, binding.policy) == (False, False, DEFAULT_POLICY)

    def test_a_key_that_it_does_not_have_says_where_to_add_it(self, binding):
        with pytest.raises(MissingSetting, match=r"\[systems.wiki\] has no key `owner`; add it .*: owner = "):
            _ = binding.settings.owner
        with pytest.raises(AttributeError, match="did you mean 'database'"):
            _ = binding.settings.databse
        assert not hasattr(binding.settings.limits, "memory")

    def test_it_cannot_be_changed(self, binding):
        with pytest.raises(dataclasses.FrozenInstanceError):
            binding.settings.url = "x"

    def test_two_readings_are_equal(self, binding, load):
        again = load(self.TEXT, WIKI_TOKEN="hunter2").systems["wiki"]
        assert binding.settings == again.settings
        assert hash(binding.settings) == hash(again.settings)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "[systems.wiki]\nmy-key = 1",
                "opsrunbooks.toml:2: [systems.wiki] my-key: a key becomes an attribute",
            ),
            ("[systems.wiki]\nclass = 1", "[systems.wiki] class: a key becomes an attribute"),
            ("[systems.wiki.sub]\n_x = 1", "[systems.wiki] sub._x: a key becomes an attribute"),
            ("[systems.wiki]\nprotected = 1", "[systems.wiki] protected: expected true or false"),
            (
                "[systems.wiki]\nx = { env = 'NO' }",
                "[systems.wiki] x: the environment variable NO is not set",
            ),
            ("[systems.wiki]\nx = { path = 5 }", "[systems.wiki] x: expected a path"),
            ("[systems]\nwiki = 5", "opsrunbooks.toml:2: [systems.wiki]: expected a table"),
            (
                "[systems.now]",
                "opsrunbooks.toml:1: [systems.now]: probes and checks get something else by this name",
            ),
            ("[systems.my-wiki]", "[systems.my-wiki]: the name is an argument of probes"),
            ("[systems.shpo]", "[systems.shpo]: no such system; did you mean [systems.shop]?"),
        ],
    )
    def test_what_cannot_be_is_said(self, said, text, message):
        (line,) = said(text)
        assert message in line


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (
                "[opsrunbooks]\nenviroment = 'x'",
                "2: [opsrunbooks] enviroment: unknown key; did you mean 'environment'?",
            ),
            ("[opsrunbooks]\nenvironment = ' '", "2: [opsrunbooks] environment: expected a name such as"),
            (
                "[opsrunbooks]\ndeadline_seconds = 0",
                "2: [opsrunbooks] deadline_seconds: expected a number of seconds",
            ),
            (
                "[opsrunbooks]\nledger_keep_days = 0",
                "2: [opsrunbooks] ledger_keep_days: expected a number of days",
            ),
            (
                "[opsrunbooks]\nrunbooks = 'x'",
                "2: [opsrunbooks] runbooks: expected a list (a path each), found 'x'",
            ),
            ("[opsrunbooks]\nrunbooks = [\n'no']", "3: [opsrunbooks] runbooks[0]:"),
            (
                "[opsrunbooks]\nrunbook_base_url = 'javascript:x'",
                "2: [opsrunbooks] runbook_base_url: expected a URL",
            ),
            ("opsrunbooks = 5", "1: [opsrunbooks]: expected a table, found 5 (an integer)"),
            ("systems = 5", "1: [systems]: expected tables, one for each system"),
            ("environment = 'x'", "1: environment: unknown table or key; it belongs under [opsrunbooks]"),
            ("[shop]\ndata_dir = 'x'", "1: [shop]: unknown table or key; did you mean [systems.shop]?"),
            ("[opsrunbook]", "1: [opsrunbook]: unknown table or key; did you mean 'opsrunbooks'?"),
            ("# a comment\n[systems.shop]", "2: [systems.shop] data_dir: missing; expected a path"),
            ("[systems]\nshop.data_dir = 5", "2: [systems.shop] data_dir: expected a path, found 5"),
            ("[systems]\nshop = { data_dir = 5 }", "2: [systems.shop] data_dir: expected a path, found 5"),
            ("systems.shop.data_dir = 5", "1: [systems.shop] data_dir: expected a path, found 5"),
        ],
    )
    def test_it_is_said_with_line_table_and_key(self, said, text, line):
        (found,) = said(text)
        assert found.startswith(f"opsrunbooks.toml:{line}")

    def test_everything_is_said_at_once_in_the_order_of_the_file(self, said):
        lines = said("""
            [opsrunbooks]
            deadline_seconds = "ten"
            runbooks = ["no"]

            [[systems.shop.endpoints]]
            name = "a"
            tier = "nationl"
            url = "http://ops:hunter2@example.org"
            [[systems.shop.endpoints]]
            name = "b"
            url = { env = "NOPE" }
            timeout = "http://ops:hunter2@example.org"
            [systems.shop.labels]
            team = 5
        """)
        assert [line.partition(": ")[0].partition(":")[2] for line in lines] == [
            "2",
            "3",
            "5",
            "7",
            "11",
            "12",
            "14",
        ]
        assert "endpoints[0].tier: expected one of 'national', 'state', found 'nationl'" in lines[3]
        assert "did you mean 'national'?" in lines[3]
        assert "endpoints[1].url: the environment variable NOPE is not set" in lines[4]
        assert "labels.team: expected a text" in lines[6]
        assert "hunter2" not in "".join(lines)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[opsrunbooks]\nenvironment = production", "opsrunbooks.toml:2:15: it is no TOML: "),
            ("[a]\n[a]", "opsrunbooks.toml:2:3: it is no TOML: "),
            ("[opsrunbooks", "it is no TOML: "),
            ("x = " + "[" * 5000, "it is no TOML"),
        ],
    )
    def test_a_file_that_is_no_toml_is_said_with_its_line(self, said, text, message):
        (line,) = said(text)
        assert message in line

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda _: None, "no such file or directory; `opsrunbooks init` writes one"),
            (pathlib.Path.mkdir, "it is a folder"),
            (os.mkfifo, "it is not a regular file"),
            (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
            (lambda path: path.write_bytes(b"a = 1\nb = '\xff'"), "it is not UTF-8 text (line 2)"),
            (lambda path: path.write_bytes(b"#" * (2 << 20)), "it is larger than"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_said_at_once(self, tmp_path, make, message):
        path = tmp_path / "opsrunbooks.toml"
        make(path)
        with pytest.raises(ConfigurationError) as caught:
            config.load(path, {}, {})
        assert message in str(caught.value)
        assert str(path) in str(caught.value)


class TestWithoutAFile:
    def test_a_lab_gives_the_table_itself(self, tmp_path):
        binding = config.bind(SHOP, {"data_dir": "data"}, base=tmp_path, lab=True)
        assert (binding.settings.data_dir, binding.lab) == (tmp_path / "data", True)

    def test_a_wrong_table_is_said(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"settings of shop cannot be used.*data_dir: missing"):
            config.bind(SHOP, {}, base=tmp_path)

    def test_saved_settings_need_no_secrets(self):
        saved = {"data_dir": "/srv/data", "api_token": "[redacted]", "protected": False}
        binding = config.restore("shop", SHOP, saved, lab=True)
        assert (binding.settings.api_token, binding.lab, binding.declared) == ("[redacted]", True, True)

    def test_saved_settings_of_a_system_of_ones_own(self):
        binding = config.restore(
            "wiki", None, {"protected": False, "url": "http://x", "nodes": [{"name": "a"}]}
        )
        assert (binding.settings.url, binding.settings.nodes[0].name, binding.declared) == (
            "http://x",
            "a",
            False,
        )
