"""What looks like a secret to anybody, whoever it belongs to: passwords in URLs, header values, tokens,
private keys.

Every pattern has a plain text that each of its matches begins with. Searching for those and matching only
where one is found is six times as fast as one alternation of the patterns; most texts have none of them and
are done at once.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Sequence

TOKEN = "[redacted]"  # noqa: S105 - what is shown in the place of a secret

_WORD = "|".join(
    (
        r"passw(?:or)?d|passphrase|secret|token|credentials?|session[_-]?id|x-amz-signature|[?&]sig(?:nature)?",
        r"(?:api|access|private|signing|encryption|routing|service|integration)[_-]?key",
    )
)
_HEADER = r"(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token|x-vault-token|private-token"
_KEY = re.compile(rf"(?:(?:{_WORD})|^(?:{_HEADER}|pwd))$", re.IGNORECASE)

_QUOTE = r"\\*[\"']"
_NO_VALUE = r"(?!(?:null|true|false|none|\[\]|\{\})(?![\w-])|[=\s])"
# A colon without quotes is prose as often as not (`unexpected token: x`), except after the words that are
# not.
_EQUALS = r"[ \t]*(?:=>|={1,2})[ \t]*"
_COLON = r"(?:(?<=word)|(?<=passwd)|(?<=key)|(?<=[_-]token)|(?<=[_-]secret)):[ \t]*"
_WEBHOOKS = "|".join(
    (
        r"hooks\.slack\.com/(?:services|workflows|triggers)/",
        r"discord(?:app)?\.com/api/webhooks/",
        r"webhook\.office\.com/webhookb2/",
        r"api\.telegram\.org/bot",
        r"hc-ping\.com/",
        r"events\.pagerduty\.com/integration/",
    )
)
_PRIVATE_KEY = r"[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
# A word of prose (`Bearer of bad news`, `Basic authentication`) has no digit, sign or capital inside.
_NOT_PROSE = r"(?![a-z_]+=[\"'])(?=[A-Za-z]*(?:[0-9_~+/=-]|[a-z][A-Z]|\.[A-Za-z0-9]))"


def _named(key: str, separator: str, name: str, bare: str) -> str:
    """`key=value`, `"key": "value"`, `'key', b'value'`: the name group keeps everything before the value.

    A quoted value ends at the quote that opened it (also `\\"` in JSON within JSON), a bare one as `bare`
    says.
    """
    quoted = rf"(?:(?!(?P=q_{name}))(?:\\[^\r\n]|[^\\\r\n]))+"
    separators = rf"(?:{_QUOTE}[ \t]*(?:=>|[:=,])[ \t]*|{separator})"
    prefix = rf"(?P<{name}>(?:{key}){separators}(?:b?(?P<q_{name}>{_QUOTE}))?)"
    return rf"(?i:{prefix}{_NO_VALUE}(?(q_{name}){quoted}|(?:{bare})))"


# How a match begins, in lower case, and the pattern. A group with a name is kept, the rest of the match is
# hidden.
_PATTERNS: Sequence[tuple[str, str]] = (
    ("-----begin", rf"-----BEGIN {_PRIVATE_KEY}(?s:.*?)(?:-----END {_PRIVATE_KEY}|\Z)"),
    ("://", r"(?P<url>://[^\s/:@?#\"'<>]*:)[^\s/?#\"'<>]+(?=@)"),
    (
        """hooks.slack.com discord.com discordapp.com webhook.office.com api.telegram.org hc-ping.com
        events.pagerduty.com""",
        rf"(?P<webhook>(?i:{_WEBHOOKS}))[^\s\"'<>?#\\]+",
    ),
    (
        """authorization proxy-authorization cookie set-cookie x-api-key x-auth-token x-vault-token
        private-token""",
        _named(rf"(?<![\w-])(?:{_HEADER})", r"[ \t]*[:=][ \t]*", "header", r"(?!\\*[\"'])[^\r\n]+"),
    ),
    (
        """password passwd passphrase secret token credential session x-amz-signature ?sig &sig api access
        private signing encryption routing service integration pwd""",
        _named(
            rf"(?:{_WORD})|(?<![\w-])(?-i:[Pp]wd)",
            f"{_EQUALS}|{_COLON}",
            "pair",
            rf"{re.escape(TOKEN)}|[^\s\"'&;,<>)}}\]\\]+",
        ),
    ),
    ("bearer basic", rf"(?P<scheme>(?<!\w)(?i:bearer|basic)[ \t]+){_NOT_PROSE}[A-Za-z0-9._~+/=-]{{8,}}"),
    ("akia asia abia acca", r"(?<!\w)(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?!\w)"),  # AWS access keys
    ("xox", r"(?<![\w-])xox[abeoprs]-[A-Za-z0-9-]{8,}"),  # Slack
    ("xapp-", r"(?<![\w-])xapp-[A-Za-z0-9-]{8,}"),
    ("gho_ ghp_ ghs_ ghu_ ghr_", r"(?<![\w-])gh[opsur]_[A-Za-z0-9]{20,}"),  # GitHub
    ("github_pat_", r"(?<![\w-])github_pat_[A-Za-z0-9_]{20,}"),
    ("glpat-", r"(?<![\w-])glpat-[A-Za-z0-9_-]{16,}"),  # GitLab
    ("npm_", r"(?<![\w-])npm_[A-Za-z0-9]{30,}"),
    ("rk_live_ sk_live_ rk_test_ sk_test_", r"(?<![\w-])[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),  # Stripe
    ("sk-", r"(?<![\w-])sk-[A-Za-z0-9_-]{32,}"),
    ("aiza", r"(?<![\w-])AIza[0-9A-Za-z_-]{35}"),  # Google
    # JWT: a JSON object twice, and a signature
    ("eyj", r"(?<![\w-])eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"),
)

_ASCII_LOWER = {ord(upper): ord(upper.lower()) for upper in string.ascii_uppercase}


_STARTS = tuple((start, pattern) for starts, pattern in _PATTERNS for start in starts.split())

# Each on first use: compiling all of them is a noticeable part of a sweep in whose texts nothing looks like a
# secret.
_compiled = functools.cache(re.compile)
_REMEMBERED_CHARACTERS = 500


def is_telling(key: str) -> bool:
    """Whether what stands under this key is a secret by its name: `password`, `db_password`, `apiKey`,
    `cookie`.
    """
    return _KEY.search(key) is not None


def hide(text: str) -> str:
    """The text with everything hidden that looks like a secret. One pass; linear in the text's length."""
    # A sweep redacts the same names and summaries for each of its reports.
    return _hide_again(text) if len(text) <= _REMEMBERED_CHARACTERS else _hide(text)


def _hide(text: str) -> str:
    lowered = text.lower()
    if len(lowered) != len(text):  # `İ` becomes two characters; positions would not fit
        lowered = text.translate(_ASCII_LOWER)
    places: list[tuple[int, int]] = []
    for number, (start, _) in enumerate(_STARTS):
        position = lowered.find(start)
        while position >= 0:
            places.append((position, number))
            position = lowered.find(start, position + 1)
    if not places:
        return text
    pieces: list[str] = []
    done = 0
    for position, number in sorted(places):
        if position < done:
            continue
        match = _compiled(_STARTS[number][1]).match(text, position)
        if match is not None:
            kept = match.lastgroup
            pieces += (text[done:position], "" if kept is None else match[kept], TOKEN)
            done = match.end()
    pieces.append(text[done:])
    return "".join(pieces)


_hide_again = functools.lru_cache(maxsize=4096)(_hide)
