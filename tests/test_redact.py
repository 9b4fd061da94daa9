"""Secrets are hidden in every form in which they travel; ordinary text stays as it is."""

from __future__ import annotations

import base64
import collections
import dataclasses
import enum
import html
import json
import time
import types
import urllib.parse

import pytest
from hypothesis import assume
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from pytest_opsrunbooks.redact import Redactor
from pytest_opsrunbooks.redact import Secret
from pytest_opsrunbooks.redact import secrets_in_url
from pytest_opsrunbooks.secret_patterns import TOKEN
from tests.thorough import examples

SENTINEL = "S3ntinel/+ä\"'\\<&%~value"


@pytest.fixture
def plain():
    return Redactor()


class TestKnownSecrets:
    @pytest.mark.parametrize(
        "form",
        [
            str,
            urllib.parse.quote,
            urllib.parse.quote_plus,
            lambda secret: urllib.parse.quote(secret, safe=""),
            lambda secret: urllib.parse.quote(secret, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
            json.dumps,
            lambda secret: json.dumps(secret, ensure_ascii=False),
            lambda secret: json.dumps(json.dumps(secret)),
            repr,
            html.escape,
            lambda secret: base64.b64encode(secret.encode()).decode(),
            lambda secret: base64.urlsafe_b64encode(f"user:{secret}".encode()).decode(),
            lambda secret: base64.b64encode(f"us:{secret}:more".encode()).decode(),
            lambda secret: base64.b64encode(f"u:{secret}".encode()).decode(),
        ],
    )
    def test_one_is_hidden_in_every_form(self, form):
        text = f"before {form(SENTINEL)} after"
        hidden = Redactor([SENTINEL]).text(text)
        assert TOKEN in hidden
        assert form(SENTINEL) not in hidden
        assert "ntinel" not in hidden
        assert hidden.startswith("before ")
        assert hidden.endswith(" after")

    def test_where_one_begins_with_another_nothing_of_the_longer_one_stays(self):
        assert Redactor(["hunter2", "hunter2-longer"]).text("x hunter2-longer x") == f"x {TOKEN} x"

    def test_a_short_one_is_hidden_only_where_it_stands_alone(self):
        assert Redactor(["ab"]).text("ab label 'ab' cab_ab") == f"{TOKEN} label '{TOKEN}' cab_ab"

    @pytest.mark.parametrize("nothing", ["", " ", "\n"])
    def test_a_blank_one_is_none(self, nothing):
        assert Redactor([nothing]).text("a b\nc") == "a b\nc"

    def test_one_may_be_added_later(self, plain):
        plain.add("hunter2")
        assert plain.text("hunter2") == TOKEN

    def test_a_key_of_several_lines_is_hidden_when_it_is_indented(self):
        key = "MIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB"
        assert "MIIE" not in Redactor([key]).text("  MIIEvQIBADANBgkqhkiG9w0B\n  AQEFAASCBKcwggSjAgEAAoIB")

    @pytest.mark.parametrize("own", ["redacted", "[redacted]", "redact", "acted", "[red", "cted] and"])
    def test_one_that_is_part_of_the_replacement_does_not_grow_it(self, own):
        redactor = Redactor([own, "other secret"])
        hidden = redactor.text(f"{own} and other secret and {own}")
        assert redactor.text(hidden) == hidden
        assert len(hidden) < 80


HIDDEN = {
    "postgres://ops:hunter2@db/x": "postgres://ops:[redacted]@db/x",
    "postgres://ops:p@hunter2@db:5432/x?a=1": "postgres://ops:[redacted]@db:5432/x?a=1",
    "redis://:hunter2@h:6379/0": "redis://:[redacted]@h:6379/0",
    "password=hunter2&x=1": "password=[redacted]&x=1",
    "PGPASSWORD=hunter2 psql": "PGPASSWORD=[redacted] psql",
    "host=db password = hunter2 dbname=x": "host=db password = [redacted] dbname=x",
    "db_password: hunter2": "db_password: [redacted]",
    "https://x.org/?token=hunter2&y=2": "https://x.org/?token=[redacted]&y=2",
    "https://x.org/?sig=hunter2": "https://x.org/?sig=[redacted]",
    "assert token == 'hunter2'": "assert token == '[redacted]'",
    "token=b'hunter2'": "token=b'[redacted]'",
    "{password => 'hunter2'}": "{password => '[redacted]'}",
    '{"password": "hun\\"ter2", "n": 1}': '{"password": "[redacted]", "n": 1}',
    '{"client_secret":"hunter2"}': '{"client_secret":"[redacted]"}',
    '{"api_key" : "hunter2"}': '{"api_key" : "[redacted]"}',
    '"{\\"apiKey\\": \\"hunter2\\", \\"z\\": 1}"': '"{\\"apiKey\\": \\"[redacted]\\", \\"z\\": 1}"',
    "{'authorization': 'Bearer hunter2', 'x': 1}": "{'authorization': '[redacted]', 'x': 1}",
    "('Cookie', 'session=hunter2; b=c')": "('Cookie', '[redacted]')",
    "Authorization: Basic aHVudGVyMg==\nHost: x": "Authorization: [redacted]\nHost: x",
    "proxy-authorization: Negotiate hunter2": "proxy-authorization: [redacted]",
    "Set-Cookie: a=hunter2; Path=/\r\nServer: x": "Set-Cookie: [redacted]\r\nServer: x",
    "X-Api-Key: hunter2": "X-Api-Key: [redacted]",
    "sent Bearer hunter2-token": "sent Bearer [redacted]",
    "sent Basic dXNlcjpwYXNz": "sent Basic [redacted]",
    "AKIAABCDEFGHIJKLMNOP": "[redacted]",
    "aws_secret_access_key = hunter2/hunter2": "aws_secret_access_key = [redacted]",
    "xoxb-123456789012-abcdef": "[redacted]",
    "https://hooks.slack.com/services/T000/B000/xyz end": "https://hooks.slack.com/services/[redacted] end",
    "https://discord.com/api/webhooks/12/hunter2": "https://discord.com/api/webhooks/[redacted]",
    '"routing_key": "0123456789abcdef0123456789abcdef"': '"routing_key": "[redacted]"',
    "events.pagerduty.com/integration/hunter2/enqueue": "events.pagerduty.com/integration/[redacted]",
    "jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl.": "jwt [redacted].",
    "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb": "a\n[redacted]\nb",
    "cut off -----BEGIN PRIVATE KEY-----\nMIIE": "cut off [redacted]",
}

ORDINARY = [
    "password",
    'password authentication failed for user "ops"',
    "the password is wrong",
    "password=",
    "password=''",
    '{"password": null, "token": false, "secret": ""}',
    "Unexpected token: }",
    "the secret: patience",
    "max_tokens=5 token_count=7 tokens=9",
    "keyword: x, monkey=banana, primary_key: id, sort_key=name, foreign_key_violations=0",
    "PWD=/root",
    "Bearer of bad news",
    "Basic authentication is required",
    'www-authenticate: Basic realm="ops"',
    'www-authenticate: Bearer error_description="none"',
    "http://ops@example.org/ http://example.org:80/a@b ssh://git@example.org",
    "mail ops@example.org",
    "SqliteObservation(path='/var/lib/x.db', integrity=('ok',), error=None)",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "design=signature, sig fig, basic, asia, key, api",
    "",
]


class TestWhatLooksLikeASecret:
    @pytest.mark.parametrize(("text", "hidden"), HIDDEN.items(), ids=range(len(HIDDEN)))
    def test_it_is_hidden_and_what_surrounds_it_stays(self, plain, text, hidden):
        assert plain.text(text) == hidden
        assert plain.text(hidden) == hidden

    @pytest.mark.parametrize("text", ORDINARY, ids=range(len(ORDINARY)))
    def test_ordinary_text_stays(self, plain, text):
        assert plain.text(text) == text

    def test_letters_that_change_their_length_in_lower_case_do_not_shift_anything(self, plain):
        assert plain.text("İİİ password=hunter2") == "İİİ password=[redacted]"

    @pytest.mark.parametrize(
        "hostile",
        [
            "://a:" * 13000,
            "://a:" + "b" * 65000,
            "eyJ" * 22000,
            "password='" * 6500,
            "cookie" * 11000,
            "-----BEGIN PRIVATE KEY" * 3000,
            "Bearer " * 9000,
            "password" + " " * 65000,
            "token" + "\\" * 65000,
            "hooks.slack.com/services/" * 2600,
        ],
        ids=lambda text: text[:12],
    )
    def test_text_that_was_made_to_be_slow_is_not(self, plain, hostile):
        begin = time.process_time()
        plain.text(hostile)
        assert time.process_time() - begin < 1


PIECES = st.sampled_from(
    [
        *HIDDEN,
        *ORDINARY,
        TOKEN,
        "[",
        "]",
        "red",
        "hunter2",
        "password",
        "=",
        ":",
        '"',
        "'",
        "\\",
        "://",
        "@",
        "token",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join)
SECRETS = st.lists(
    st.text(max_size=12) | st.sampled_from(["hunter2", "redacted", "ab", "[", "] x"]), max_size=3
)


class TestAlways:
    @given(text=TEXTS, secrets=SECRETS)
    @example(text="password=[redacted]x", secrets=["x"])
    @settings(deadline=None, max_examples=examples(300))
    def test_hiding_twice_is_hiding_once(self, text, secrets):
        redactor = Redactor(secrets)
        once = redactor.text(text)
        assert redactor.text(once) == once

    @given(text=TEXTS, secrets=SECRETS)
    @settings(deadline=None)
    def test_the_length_stays_sane(self, text, secrets):
        assert len(Redactor(secrets).text(text)) <= len(text) * len(TOKEN) + len(TOKEN)

    @given(before=st.text(max_size=20), after=st.text(max_size=20), secret=st.text(min_size=4, max_size=20))
    @settings(deadline=None)
    def test_a_known_secret_never_stays(self, before, after, secret):
        assume(secret.strip() and secret not in TOKEN)
        hidden = Redactor([secret]).text(before + secret + after)
        assert secret not in hidden.replace(TOKEN, "\0")


class Colour(enum.StrEnum):
    HUNTER = "hunter2"


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024


@dataclasses.dataclass(frozen=True)
class Value:
    text: str
    password: str = ""
    items: tuple[object, ...] = ()
    more: object = None

    def __post_init__(self):
        if self.text.startswith("["):
            raise ValueError("a redacted value must not be checked again")


class TestTrees:
    def test_every_text_in_it_is_hidden(self):
        tree = {"a": ["hunter2", ("x hunter2", {"b": b"\xff hunter2"})], "hunter2": {"hunter2"}, "n": 1}
        assert Redactor(["hunter2"]).tree(tree) == {
            "a": [TOKEN, (f"x {TOKEN}", {"b": b"\xff " + TOKEN.encode()})],
            TOKEN: {TOKEN},
            "n": 1,
        }

    def test_what_needs_no_change_is_the_same_object(self, plain):
        tree = {"a": [1, ("x",), Value("y", more={"z": None})]}
        assert plain.tree(tree) is tree

    def test_types_stay(self):
        redactor = Redactor(["hunter2"])
        assert redactor.tree(Pair("hunter2", 1)) == Pair(TOKEN, 1)
        assert isinstance(redactor.tree(types.MappingProxyType({"a": "hunter2"})), types.MappingProxyType)
        assert redactor.tree(frozenset({"hunter2"})) == frozenset({TOKEN})
        assert redactor.tree(Colour.HUNTER) is Colour.HUNTER

    def test_dataclasses_are_not_checked_again(self):
        hidden = Redactor(["hunter2"]).tree(Value("hunter2", items=("a", "hunter2")))
        assert (hidden.text, hidden.items) == (TOKEN, ("a", TOKEN))

    def test_a_telling_key_hides_its_text_whole(self, plain):
        tree = {"Cookie": "a", "dbPassword": "b", "tokens": "c", "api_key": "", "token": 5, "secret": b"d"}
        assert plain.tree(tree) == {
            "Cookie": TOKEN,
            "dbPassword": TOKEN,
            "tokens": "c",
            "api_key": "",
            "token": 5,
            "secret": TOKEN.encode(),
        }
        assert plain.tree(Value("x", password="y")).password == TOKEN

    def test_a_value_without_a_bottom_ends(self, plain):
        endless = []
        endless.append(endless)
        assert TOKEN in repr(plain.tree(endless))


class TestSecret:
    def test_it_is_a_text_that_its_repr_does_not_show(self):
        secret = Secret("hunter2")
        assert secret == "hunter2"
        assert f"Bearer {secret}" == "Bearer hunter2"
        assert "hunter2" not in repr(secret) + repr([secret]) + repr(Value(secret))

    def test_a_redactor_hides_it_without_knowing_it(self, plain):
        assert plain.tree({"a": Secret("hunter2")}) == {"a": TOKEN}


def test_passwords_in_urls():
    assert secrets_in_url("postgres://u:p%40w@h/x") == ("p%40w", "p@w")
    assert secrets_in_url("http://h:80/a:b@c") == ()
    assert secrets_in_url("http://u@h/") == ()
    assert secrets_in_url("no url") == ()
    assert secrets_in_url("https://h/a/0123456789abcdef01?key=12345678&n=1", opaque_parts=True) == (
        "0123456789abcdef01",
        "12345678",
    )
