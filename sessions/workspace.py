"""The folder that a trajectory works in.

The harness keeps it in its database and, when it opens one that is there, works in that folder whatever folder it
is given (measured with 0.1.22). So a session that moves is opened as a copy that names the new folder; the
database itself is never written. The folder is in field 7 of the one row of `trajectory_metadata_blob`, as a
`file:` address.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

from sessions import durable, protobuf, rows, schema, trajectory

_FOLDER = 7
_SCHEME = "file://"
_PLAIN = "/$&+,:;=@"
"""What the harness leaves as it is in an address, besides letters, digits and `-_.~`."""


def folder_of(database: Path) -> str | None:
    """The folder that a database names that nobody has open; None if it names none, or in an unknown way.

    Raises:
        TrajectoryProblem: the database cannot be read.
    """
    with trajectory.opened(database, live=False) as db:
        try:
            found = db.execute("SELECT data FROM trajectory_metadata_blob").fetchall()
        except sqlite3.OperationalError:  # a harness without this table
            return None
    if len(found) != 1:
        return None
    addresses = [value for number, value in protobuf.fields(found[0][0]) or () if number == _FOLDER]
    if len(addresses) != 1 or not isinstance(addresses[0], bytes):
        return None
    address = addresses[0].decode(errors="replace")
    return unquote(address.removeprefix(_SCHEME)) if address.startswith(_SCHEME) else None


def copy(database: Path, target: Path) -> None:
    """Make a copy of a database that nobody has open, durably.

    Raises:
        TrajectoryProblem: the database cannot be read.
        OSError: the disk refused.
    """
    image = trajectory.read_image(database, live=False)
    rows.write(target, image.rows, page_size=image.page_size, user_version=image.user_version)


def move(database: Path, folder: str) -> None:
    """Let a database of our own making, whose folder can be told (`folder_of`), name another one. Durable.

    Raises:
        sqlite3.Error, OSError: the disk refused.
    """
    address = (_SCHEME + quote(folder, safe=_PLAIN)).encode()
    with closing(schema.connect(database, "mode=rw")) as db:
        (data,) = db.execute("SELECT data FROM trajectory_metadata_blob").fetchone()
        moved = protobuf.replaced(data, _FOLDER, address)
        db.execute("UPDATE trajectory_metadata_blob SET data = ?", (moved,))
    durable.sync_file(database)
