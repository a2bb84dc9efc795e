"""The folders that a trajectory works in.

The harness keeps them in its database and, when it opens one that is there, works in those folders whatever
folders it is given (measured with 0.1.22). So a session that moves is opened as a copy that names the new
folders; the database itself is never written. The folders are in the fields 7 of the one row of
`trajectory_metadata_blob`, as `file:` addresses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

from sessions import durable, protobuf, rows, schema, trajectory

_FOLDER = 7
_SCHEME = "file://"
_PLAIN = "/$&+,:;=@"
"""What the harness leaves as it is in an address, besides letters, digits and `-_.~`."""


def folders_of(database: Path) -> list[str]:
    """The folders that a database names that nobody has open; empty if it names none, or in an unknown way.

    Raises:
        TrajectoryProblem: the database cannot be read.
    """
    with trajectory.opened(database, live=False) as db:
        try:
            found = db.execute("SELECT data FROM trajectory_metadata_blob").fetchall()
        except sqlite3.OperationalError:  # a harness without this table
            return []
    if len(found) != 1:
        return []
    addresses = [value for number, value in protobuf.fields(found[0][0]) or () if number == _FOLDER]
    texts = [address.decode(errors="replace") for address in addresses if isinstance(address, bytes)]
    if len(texts) != len(addresses) or not all(text.startswith(_SCHEME) for text in texts):
        return []
    return [unquote(text.removeprefix(_SCHEME)) for text in texts]


def copy(database: Path, target: Path) -> None:
    """Make a copy of a database that nobody has open, durably.

    Raises:
        TrajectoryProblem: the database cannot be read.
        OSError: the disk refused.
    """
    image = trajectory.read_image(database, live=False)
    rows.write(target, image.rows, page_size=image.page_size, user_version=image.user_version)


def move(database: Path, folders: Sequence[str]) -> None:
    """Let a database of our own making, whose folders can be told (`folders_of`), name others. Durable.

    Raises:
        sqlite3.Error, OSError: the disk refused.
    """
    addresses = [(_SCHEME + quote(folder, safe=_PLAIN)).encode() for folder in folders]
    with closing(schema.connect(database, "mode=rw")) as db:
        (data,) = db.execute("SELECT data FROM trajectory_metadata_blob").fetchone()
        moved = protobuf.replaced(data, _FOLDER, addresses)
        db.execute("UPDATE trajectory_metadata_blob SET data = ?", (moved,))
    durable.sync_file(database)
