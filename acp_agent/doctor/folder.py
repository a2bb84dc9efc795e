"""Checks of the data folder and of the disk that it is on, by doing what sessions need of it.

What is tried is tried in a folder of its own that is gone afterwards. Where there is no data folder yet, the
folder stands in for it in which it would be made.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePath
from typing import Final, Protocol

import psutil

from acp_agent.doctor.findings import Finding, ok, problem, warning
from acp_agent.doctor.situation import Situation
from acp_agent.sessions_command.output import size
from sessions import catalog, durable, lease, schema
from sessions.lease import Holder, Lease
from sessions.store import now
from sessions.system import files

PROBE: Final = ".doctor-"
"""What the names of folders begin with in which something is tried."""

LEAST_BYTES: Final = 100_000_000
"""With less room than that a turn may not be stored: the harness's log alone grows to 33 MB (facts, section 5)."""

FEW_BYTES: Final = 1_000_000_000
LEAST_FILES: Final = 100
FEW_FILES: Final = 5_000
"""A session has about ten files."""

NETWORK: Final = frozenset(
    {"9p", "afpfs", "afs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
)
"""File systems whose locks and syncs are kept, or not, by another machine or by the host."""

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})

CHILD_SECONDS: Final = 20.0

_HOLDS: Final = """
import os, pathlib, sys
from sessions.lease import Holder, Lease
held = Lease.acquire(pathlib.Path(sys.argv[1]), Holder(os.getpid(), "acp-agent doctor", sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


class Partition(Protocol):
    """A mounted file system; `psutil.disk_partitions` has them."""

    @property
    def mountpoint(self) -> str:
        """The folder that it is mounted on."""

    @property
    def fstype(self) -> str:
        """Its kind, such as `ext4`."""

    @property
    def opts(self) -> str:
        """How it is mounted, with commas between."""


def place(situation: Situation) -> Iterator[Finding]:
    """Whether the data folder is there, or can be made, is the user's and nobody else's, and may be written."""
    folder = situation.settings.data_dir
    if not os.path.lexists(folder):
        yield _to_be_made(folder)
        return
    if folder.is_symlink() and not folder.exists():
        yield problem(
            f"The data folder {folder} is a link that leads nowhere.", "Remove the link, or make its target."
        )
        return
    if not folder.is_dir():
        yield problem(
            f"The data folder {folder} is a file.", "Move the file away, or name another with --data-dir."
        )
        return
    whole = True
    for finding in (*_rights(folder), *_open_to_others(folder)):
        whole = False
        yield finding
    if whole:
        leads = f", a link to {folder.resolve()}" if folder.is_symlink() else ""
        yield ok(f"The data folder {folder}{leads} is there, and private")


def _to_be_made(folder: Path) -> Finding:
    parent = existing(folder)
    if not parent.is_dir():
        return problem(
            f"The data folder {folder} cannot be made: {parent} is a file.",
            "Move the file away, or name another folder with --data-dir.",
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        return problem(
            f"The data folder {folder} cannot be made: {parent} may not be written.",
            "Make the folder and give it to your user, or name another with --data-dir.",
        )
    return ok(f"The data folder {folder} is made with the first session")


def _rights(folder: Path) -> Iterator[Finding]:
    missing = [word for word, mode in (("read", os.R_OK), ("written", os.W_OK)) if not os.access(folder, mode)]
    if missing or not os.access(folder, os.X_OK):
        yield problem(
            f"The data folder {folder} may not be {' or '.join(missing) or 'entered'}.",
            "Run chmod u+rwx on it, or name another folder with --data-dir.",
        )
    if (owner := files.other_owner(folder.stat())) is not None:
        yield warning(
            f"The data folder {folder} belongs to another user (number {owner}).",
            "Use the agent as one user only: files that another makes there may not be written later.",
        )


def _open_to_others(folder: Path) -> Iterator[Finding]:
    root = folder / "sessions"
    looked_at = [folder, root, folder / catalog.NAME]
    with suppress(OSError):
        looked_at += [part for each in root.iterdir() for part in (each, each / "store.db")]
    open_to_others = []
    for path in looked_at:
        with suppress(OSError):
            found = path.lstat()
            if not stat.S_ISLNK(found.st_mode) and files.others_may(found):  # a link's own mode says nothing
                open_to_others.append(path)
    if open_to_others:
        more = f" and {len(open_to_others) - 1} more" if len(open_to_others) > 1 else ""
        yield warning(
            f"Others can read what is stored: {open_to_others[0]}{more}.", f"Run chmod -R go-rwx {folder}."
        )


def space(situation: Situation) -> Iterator[Finding]:
    """Whether there is room for sessions."""
    folder = existing(situation.settings.data_dir)
    yield judge_space(shutil.disk_usage(folder).free, files.files_left(folder))


def judge_space(free: int, left: int | None) -> Finding:
    """What there is to say of so much room.

    Args:
        free: bytes that the user may still write.
        left: files that can still be made, None if there is no such limit.
    """
    remedy = "Make room: `acp-agent sessions prune` deletes old sessions; or name another folder with --data-dir."
    if free < LEAST_BYTES:
        return problem(f"Only {size(free)} are free; a turn may need {size(LEAST_BYTES)}.", remedy)
    if left is not None and left < LEAST_FILES:
        return problem(f"Only {left} more files can be made.", remedy)
    if free < FEW_BYTES:
        return warning(f"Only {size(free)} are free.", remedy)
    if left is not None and left < FEW_FILES:
        return warning(f"Only {left} more files can be made.", remedy)
    return ok(f"{size(free)} are free")


def file_system(situation: Situation) -> Iterator[Finding]:
    """What the data folder is on."""
    folder = existing(situation.settings.data_dir).resolve()
    yield judge_file_system(mount_of(folder, psutil.disk_partitions(all=True)))


def mount_of(folder: PurePath, partitions: Sequence[Partition]) -> Partition | None:
    """The file system that a folder is on: of those that are mounted above it the nearest, and there the last."""
    nearest: Partition | None = None
    for each in partitions:
        if folder.is_relative_to(each.mountpoint) and (
            nearest is None or PurePath(each.mountpoint).is_relative_to(nearest.mountpoint)
        ):
            nearest = each
    return nearest


def judge_file_system(mount: Partition | None) -> Finding:
    """What there is to say of a file system, None if it is not known which it is."""
    if mount is None:
        return ok("What file system the data folder is on is not known")
    kind = mount.fstype.lower()
    elsewhere = "Name a folder on a disk of this machine with --data-dir."
    if "ro" in mount.opts.split(","):
        return problem(f"The data folder is on a file system that may only be read ({kind}).", elsewhere)
    if kind in NETWORK or kind.startswith("fuse.") or kind == "fuse":
        return warning(
            f"The data folder is on {kind}, whose locks and syncs are another's: a session may be opened"
            " twice, and what was said to be stored may be lost.",
            elsewhere,
        )
    if kind in IN_MEMORY:
        return warning(f"The data folder is in memory ({kind}): sessions end with the machine.", elsewhere)
    return ok(f"The data folder is on {kind or 'a disk'}")


def locks(situation: Situation) -> Iterator[Finding]:
    """Whether a lock keeps other processes out, and ends with its process, which is killed."""
    remedy = (
        "Name a folder on a disk of this machine with --data-dir: without locks a session can be opened twice."
    )
    try:
        with probe(situation) as folder:
            kept_out, freed = _with_another_process(folder)
    except OSError as error:
        yield problem(f"There is no lock: {error.strerror or error}.", remedy)
        return
    if not kept_out:
        yield problem("A lock of one process does not keep another out.", remedy)
    elif not freed:
        yield problem("The lock of a process that was killed is not given up.", remedy)
    else:
        yield ok("A lock keeps others out, and ends with its process")


def _with_another_process(folder: Path) -> tuple[bool, bool]:
    """Whether the lease of another process keeps this one out, and whether it can be had when that is killed."""
    # -P: nothing in the present folder is to be taken for a module.
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _HOLDS, folder, now()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != b"held\n":
                _, said = child.communicate(timeout=CHILD_SECONDS)
                raise OSError(said.decode(errors="replace").strip().rpartition("\n")[2] or "it cannot be taken")
            kept_out = lease.refusal(folder) is not None
        finally:
            child.kill()
    try:
        Lease.acquire(folder, Holder(os.getpid(), "acp-agent doctor", now())).release()
    except lease.SessionBusy:
        return kept_out, False
    return kept_out, True


def durability(situation: Situation) -> Iterator[Finding]:
    """Whether files and folders can be synced, and a file takes the place of another in one step."""
    try:
        with probe(situation) as folder:
            path = folder / "file"
            for content in (b"before", b"after"):
                durable.write_file(path, content)
                if path.read_bytes() != content:
                    raise OSError("what is read is not what was written")
    except OSError as error:
        yield problem(
            f"A file cannot be made durable there: {error.strerror or error}.",
            "Name a folder on a disk of this machine with --data-dir.",
        )
        return
    yield ok("A file can be written, synced and put in the place of another")


def sqlite(situation: Situation) -> Iterator[Finding]:
    """Whether SQLite works there as sessions need it: a store in WAL mode that is read beside being written."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < (3, 37):
        yield problem(f"SQLite {version} is too old; 3.37 or newer is needed.", "Use a newer Python.")
        return
    try:
        with probe(situation) as folder:
            trouble = _wal(folder / "store.db")
    except sqlite3.Error as error:
        trouble = str(error)
    except OSError as error:
        trouble = error.strerror or str(error)
    if trouble:
        yield problem(
            f"SQLite {version} does not work there: {trouble}.",
            "Name a folder on a disk of this machine with --data-dir: it must have shared memory.",
        )
    else:
        yield ok(f"SQLite {version} works there, with a write-ahead log")


def _wal(path: Path) -> str | None:
    durable.make_file(path)
    with closing(schema.create(path)) as writing:
        (mode,) = writing.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            return f"the journal mode is {mode}, not wal"
        with closing(schema.connect(path, "mode=ro")) as reading:
            writing.execute("INSERT INTO memory (key, value) VALUES ('doctor', '1')")
            if reading.execute("SELECT value FROM memory").fetchall() != [("1",)]:
                return "a reader does not see what was written"
        (busy, _, _) = writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return "the log cannot be emptied" if busy else None


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path(folder.anchor))


@contextmanager
def probe(situation: Situation) -> Iterator[Path]:
    """A new folder on the disk of the data folder, removed afterwards. Raises OSError if it cannot be made."""
    folder = Path(tempfile.mkdtemp(prefix=PROBE, dir=existing(situation.settings.data_dir)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
