"""Which files of a tree hold secrets by their name, and which others have something in them that looks like one."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from pytest_opsrunbooks import secret_patterns

SECRET_NAMES = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.gpg", "id_rsa*",
    "id_dsa*", "id_ecdsa*", "id_ed25519*", ".pgpass", ".netrc", ".htpasswd", ".git-credentials", ".npmrc", ".pypirc",
    "*secret*", "*credential*", "*password*", "*.tfstate", ".ssh", ".gnupg", ".aws", ".docker", ".kube",
)  # fmt: skip
"""Names of files and folders that hold secrets more often than not."""
LOOKED_AT_BYTES = 1 << 20


def matching(name: str, patterns: Iterable[str]) -> str | None:
    """The first pattern that the path, or the name of it or of a folder above it, fits, whatever the case."""
    parts = name.lower().split("/")
    for pattern in patterns:
        wanted = pattern.lower().rstrip("/")
        if fnmatch.fnmatchcase("/".join(parts), wanted) or any(
            fnmatch.fnmatchcase(part, wanted) for part in parts
        ):
            return pattern
    return None


def may_hold_secrets(beginning: bytes) -> bool:
    """Whether something in a file looks like a secret to anybody. Binary files are not looked at."""
    if b"\0" in beginning:
        return False
    text = beginning.decode("utf-8", "replace")
    return secret_patterns.hide(text) != text
