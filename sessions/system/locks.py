"""Whether somebody holds the lock of a lock file, asked without taking it from anybody for long.

The lock itself is `filelock`'s, which has a kernel lock on every system: `flock` of the whole file on Linux and
macOS, `LockFileEx` of its first byte on Windows. Both end with their holder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import filelock

    def is_held(path: Path) -> bool:
        """Whether the lock on a file is held, by anybody. For a moment the file is locked, if it is not.

        Whoever wants the lock in that very moment is refused, and so is another who only looks: Windows locks
        a file for many readers in ways that do not get along with `filelock`'s.

        Raises:
            FileNotFoundError: there is no such file, so nobody holds it.
            OSError: the file system refuses.
        """
        handle = os.open(path, os.O_RDWR | os.O_BINARY | os.O_NOINHERIT)
        try:
            if not filelock.lock_descriptor(handle, blocking=False):
                return True
            filelock.unlock_descriptor(handle)
            return False
        finally:
            os.close(handle)

else:
    import fcntl

    def is_held(path: Path) -> bool:
        """Whether the lock on a file is held, by anybody. For a moment the file is locked, if it is not.

        It is locked beside others who only look; whoever wants the lock in that very moment is refused.

        Raises:
            FileNotFoundError: there is no such file, so nobody holds it.
            OSError: the file system refuses.
        """
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False
