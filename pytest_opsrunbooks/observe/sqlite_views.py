"""Ways to read a SQLite database that others may be writing: without a trace beside it, and without blocking.

Which one is used depends on what lies there:

* **undisturbed**: everything committed is in the database file itself, and nobody is writing it. It is
  opened with `immutable=1`, which takes no lock and creates nothing; a stamp before and after proves that
  it did not change.
* **copied**: there is a write-ahead log or a journal to apply. The files are copied to a private directory,
  and SQLite recovers the copy there. Also the way to read a file that never rests for as long as an
  inspection takes.
* **in place**: as copied, but too large. It is opened read-only with `readonly_shm=1`, as one more reader.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
from collections.abc import Callable
from collections.abc import Iterator
from typing import TypeVar

from pytest_opsrunbooks.observe import sqlite_copy
from pytest_opsrunbooks.observe import sqlite_files
from pytest_opsrunbooks.observe.sqlite_connection import SQL_ERRORS
from pytest_opsrunbooks.observe.sqlite_connection import Unusable
from pytest_opsrunbooks.observe.sqlite_connection import begin
from pytest_opsrunbooks.observe.sqlite_connection import connect
from pytest_opsrunbooks.observe.sqlite_copy import Changed
from pytest_opsrunbooks.observe.sqlite_files import CannotTell
from pytest_opsrunbooks.observe.sqlite_files import DatabaseFile
from pytest_opsrunbooks.observe.sqlite_files import Deadline
from pytest_opsrunbooks.observe.sqlite_files import Header
from pytest_opsrunbooks.observe.sqlite_files import Sidecar
from pytest_opsrunbooks.observe.sqlite_files import Stamp
from pytest_opsrunbooks.observe.sqlite_files import Unreadable

T = TypeVar("T")

COPY_BELOW_BYTES = 16 << 20
"""A database with a write-ahead log is copied up to this size: a reader in place, however short, can make a
RESTART or TRUNCATE checkpoint of the service wait, and with it the service's writers."""
POLL_SECONDS = 0.001
UNDISTURBED_ATTEMPTS = 4
ATTEMPTS = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """A consistent state of the database, open for reading in one transaction."""

    connection: sqlite3.Connection
    database: DatabaseFile
    """The file that the connection reads: the original or the copy."""
    how: str
    header: Header
    size_bytes: int
    """Of the database file itself, as it lies there."""
    wal_size_bytes: int
    hot_journal: bool
    damage: str | None
    """What the shape of the file shows."""

    @property
    def may_have_log(self) -> bool:
        return self.how != "undisturbed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Surroundings:
    stamp: Stamp
    wal: Sidecar | None
    journal: Sidecar | None
    locks_show: bool
    """The platform tells who holds locks."""
    being_written: bool
    """Somebody holds the lock for writing into the file itself, or in exclusive mode keeps it between
    writes."""
    reserved: bool
    """Somebody is preparing a transaction in rollback mode; the journal is theirs."""

    @property
    def has_wal(self) -> bool:
        return self.wal is not None and self.wal.size_bytes > 0

    @property
    def _has_journal(self) -> bool:
        return self.journal is not None and self.journal.has_content

    @property
    def must_roll_back(self) -> bool:
        """The file may hold part of a transaction."""
        return self._has_journal and (self.being_written or not self.reserved)

    @property
    def hot_journal(self) -> bool:
        return self._has_journal and not self.reserved

    @property
    def locks_prove_rest(self) -> bool:
        """Nobody can be writing: in rollback mode that takes a lock. (A checkpoint of a log takes none of
        these.)"""
        rollback = Header(self.stamp.head).journal_mode == "rollback"
        return rollback and self.locks_show and not self.being_written

    @property
    def settled(self) -> bool:
        """The stamps would show the next write."""
        if self.must_roll_back and self.journal is not None and self.journal.stamp.is_young:
            return False
        return self.locks_prove_rest or not self.stamp.is_young

    def still(self, now: _Surroundings) -> bool:
        """Nothing that was read has been written since."""
        if now.stamp != self.stamp or (self.stamp.is_young and not now.locks_prove_rest):
            return False
        if not self.must_roll_back:
            return True
        return (self.journal and self.journal.stamp) == (now.journal and now.journal.stamp)


def read(
    database: DatabaseFile, deadline: Deadline, work: Callable[[View], T], *, is_damaged: Callable[[T], bool]
) -> T:
    """Give `work` a view and return what it makes of it; it is called again when the files changed meanwhile.

    Raises CannotTell when there was no rest at any attempt, and Unreadable when nothing is left to read.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        deadline.check()
        try:
            return _attempt(database, deadline, work, is_damaged, attempt)
        except (Changed, Unusable) as failure:
            reason = str(failure)
            deadline.pause(min(0.005 * (attempt + 1), 0.1))
    raise CannotTell(f"{database.shown} could not be read at any of {ATTEMPTS} attempts: {reason}")


def _attempt(
    database: DatabaseFile,
    deadline: Deadline,
    work: Callable[[View], T],
    is_damaged: Callable[[T], bool],
    attempt: int,
) -> T:
    around = _look_around_at_rest(database, deadline)
    refusals = []
    for way in _ways(database, around, attempt):
        try:
            with way(database, deadline, around) as view:
                result = work(view)
                if is_damaged(result) and _damage_is_doubtful(around):
                    raise Changed(
                        f"{database.shown} looks damaged, but a writer without a journal holds its lock"
                    )
        except Unusable as refusal:
            refusals.append(str(refusal))
        else:
            return result
    raise Unusable("; ".join(refusals))


def _look_around_at_rest(database: DatabaseFile, deadline: Deadline) -> _Surroundings:
    """Waits for a moment at which the next write would show. With a log there is no need to."""
    for _ in range(int(sqlite_files.TIMESTAMP_GRAIN_SECONDS / POLL_SECONDS) + 1):
        around = _look_around(database)
        if around.has_wal or around.settled:
            return around
        deadline.pause(POLL_SECONDS)
    raise Changed(f"{database.shown} is written to all the time")


def _look_around(database: DatabaseFile) -> _Surroundings:
    if database.is_replaced():
        raise CannotTell(f"{database.shown} was replaced by another file during the inspection")
    # The order matters: with the stamp first, a file that still bears it at the end had nothing left to be
    # applied at the moment when no log and no journal were seen.
    stamp = database.stamp()
    descriptor = database.descriptor
    pending = sqlite_files.write_locked(descriptor, sqlite_files.PENDING_BYTE)
    shared = sqlite_files.write_locked(descriptor, sqlite_files.SHARED_FIRST, sqlite_files.SHARED_SIZE)
    return _Surroundings(
        stamp=stamp,
        wal=database.sidecar("-wal"),
        journal=database.sidecar("-journal"),
        locks_show=shared is not None,
        being_written=bool(pending or shared),
        reserved=bool(sqlite_files.write_locked(descriptor, sqlite_files.RESERVED_BYTE)),
    )


_Way = Callable[[DatabaseFile, Deadline, _Surroundings], contextlib.AbstractContextManager[View]]


def _ways(database: DatabaseFile, around: _Surroundings, attempt: int) -> list[_Way]:
    if around.has_wal:
        allocated = database.allocated_bytes + (around.wal.allocated_bytes if around.wal else 0)
        return [_copied, _in_place] if allocated <= COPY_BELOW_BYTES else [_in_place, _copied]
    if around.must_roll_back or attempt >= UNDISTURBED_ATTEMPTS:
        return [_copied]
    return [_undisturbed, _copied]


def _damage_is_doubtful(around: _Surroundings) -> bool:
    """With `journal_mode` MEMORY or OFF half a transaction shows only by the writer's lock. (A writer in
    exclusive mode that does have a journal or a log keeps the file there.)"""
    return around.being_written and around.journal is None and not around.has_wal


@contextlib.contextmanager
def _undisturbed(database: DatabaseFile, deadline: Deadline, around: _Surroundings) -> Iterator[View]:
    with connect(database.path, "mode=ro&immutable=1", deadline) as connection:
        begin(connection, io_errors_are_damage=True)
        damage = Header(around.stamp.head).damage(around.stamp.size_bytes)
        yield _view(around, connection, database, "undisturbed", damage)
    if not around.still(_look_around(database)):
        raise Changed(f"{database.shown} was written to during the inspection")


@contextlib.contextmanager
def _copied(database: DatabaseFile, deadline: Deadline, around: _Surroundings) -> Iterator[View]:
    beside_bytes = sum(sidecar.allocated_bytes for sidecar in (around.wal, around.journal) if sidecar)
    # What lies beside is counted twice: recovery writes it into the copy.
    with sqlite_copy.scratch_directory(database.allocated_bytes + 2 * beside_bytes) as folder:
        copy = folder / "copy.db"
        if around.has_wal:
            sqlite_copy.copy_with_wal(database, copy, deadline)
        else:
            sqlite_copy.copy_with_journal(database, copy, deadline)
            if not around.still(_look_around(database)):
                raise Changed(f"{database.shown} was written to while it was copied")
        with sqlite_copy.open_copy(copy) as copied, connect(copy, "mode=rw", deadline) as connection:
            # Puts the log into the copy, so that its shape can be judged; the first read rolls a journal
            # back.
            with contextlib.suppress(*SQL_ERRORS):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            begin(connection, io_errors_are_damage=True)
            stamp = copied.stamp()
            if not stamp.size_bytes:
                error = f"{database.shown} is empty once its unfinished first transaction is rolled back"
                raise Unreadable(error, exists=True, size_bytes=around.stamp.size_bytes)
            damage = Header(stamp.head).damage(stamp.size_bytes)
            yield _view(around, connection, copied, "copied", damage)


@contextlib.contextmanager
def _in_place(database: DatabaseFile, deadline: Deadline, around: _Surroundings) -> Iterator[View]:
    # With readonly_shm SQLite neither creates nor writes a -shm. It would create an empty -wal, though, if
    # the last writer removed it just before; and a writer can remove it only without this lock.
    if around.must_roll_back or not database.has_shm():
        raise Unusable("there is no -shm to share, or a journal to roll back")
    with sqlite_files.shared_lock(database.descriptor) as locked:
        if not locked:
            raise Unusable("another process holds an exclusive lock")
        wal = database.sidecar("-wal")
        if wal is None or not wal.size_bytes or database.is_replaced():
            raise Changed(f"the log of {database.shown} has just been removed")
        if os.geteuid() == 0 and wal.owner != database.owner:
            # SQLite, run by root, would hand the -wal to the owner of the database: a change, and it hides
            # a fault.
            raise Unusable("the -wal has another owner than the database")
        with connect(database.path, "mode=ro&readonly_shm=1", deadline) as connection:
            begin(connection, io_errors_are_damage=False)
            header = Header(around.stamp.head)
            # The size says nothing while the last pages may be in the log.
            damage = None if header.is_sqlite else header.damage(around.stamp.size_bytes)
            yield _view(around, connection, database, "in place", damage)


def _view(
    around: _Surroundings,
    connection: sqlite3.Connection,
    database: DatabaseFile,
    how: str,
    damage: str | None,
) -> View:
    return View(
        connection=connection,
        database=database,
        how=how,
        header=Header(around.stamp.head),
        size_bytes=around.stamp.size_bytes,
        wal_size_bytes=around.wal.size_bytes if around.wal else 0,
        hot_journal=around.hot_journal,
        damage=damage,
    )
