"""A keyring in a file, for tests: what `keyring` talks to where a desktop has one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class FileKeyring(KeyringBackend):
    """Kept in the file that `TEST_KEYRING` names. A file `locked` beside it locks it, `hangs` keeps it silent."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        return self._all().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._path.write_text(json.dumps({**self._all(), f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        entries = self._all()
        if entries.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError("there is none")
        self._path.write_text(json.dumps(entries))

    @property
    def _path(self) -> Path:
        return Path(os.environ["TEST_KEYRING"])

    def _all(self) -> dict[str, str]:
        if self._path.with_name("locked").exists():
            raise KeyringLocked("it is locked")
        while self._path.with_name("hangs").exists():
            time.sleep(0.1)
        entries: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return entries
