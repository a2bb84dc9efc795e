"""Stores of every released format, and what unpacks them."""

from __future__ import annotations

import gzip
from pathlib import Path

SESSIONS = {
    1: "f4d03ba2c0b54ce489c34a5031b469a4",
    2: "fedcba9876543210fedcba9876543210",
    3: "0123456789abcdef0123456789abcd03",
}
"""The id of the session in each version's store."""

HERE = Path(__file__).parent


def unpack(version: int, data_dir: Path) -> Path:
    """Put the session of a version into a data folder, as it lay there when it was closed; returns its folder."""
    session_id = SESSIONS[version]
    folder = data_dir / "sessions" / session_id
    for name in ("trajectory", "harness", "aside"):
        (folder / name).mkdir(parents=True, mode=0o700)
    packed = HERE / f"v{version}"
    for name, target in (
        ("store.db.gz", folder / "store.db"),
        ("trajectory.db.gz", folder / "trajectory" / f"{session_id}.db"),
    ):
        target.touch(mode=0o600)
        target.write_bytes(gzip.decompress((packed / name).read_bytes()))
    return folder


def unpack_portable(version: int, path: Path) -> Path:
    """Make the portable file that a version exported of its session."""
    path.write_bytes(gzip.decompress((HERE / f"v{version}" / "session.portable.gz").read_bytes()))
    return path


def pack(version: int, folder: Path) -> None:
    """Keep a closed session as the one of a version."""
    packed = HERE / f"v{version}"
    packed.mkdir(exist_ok=True)
    for name, source in (
        ("store.db.gz", folder / "store.db"),
        ("trajectory.db.gz", folder / "trajectory" / f"{folder.name}.db"),
    ):
        (packed / name).write_bytes(gzip.compress(source.read_bytes(), mtime=0))


def pack_portable(version: int, path: Path) -> None:
    """Keep a portable file as that of a version's session."""
    (HERE / f"v{version}" / "session.portable.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
