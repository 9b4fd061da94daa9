"""The server of `database_url`, for procedures that act on it."""

from __future__ import annotations

from typing import Any

from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.procedure import StepFailed
from systems.ner11.settings import Ner11


def url(settings: Ner11) -> str:
    """Raises Refused where there is none."""
    if settings.database_url is None:
        raise Refused("database_url is not set in [systems.ner11]")
    return settings.database_url


def connect(
    url: str, *, otherwise: str = "the database cannot be reached", connect_timeout: int = 10, **more: Any
) -> Any:
    """A session that commits each statement. Raises StepFailed, which begins with `otherwise`."""
    import psycopg

    try:
        return psycopg.connect(
            url, autocommit=True, connect_timeout=connect_timeout, application_name="opsrunbooks", **more
        )
    except psycopg.Error as error:
        raise StepFailed(f"{otherwise}: {' '.join(str(error).split())}") from error
