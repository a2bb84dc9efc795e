"""How far a session was brought back, and why: two words. What else is told of it is in `sessions.report`."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How far a session was brought back, best first; the order of the members is the ladder."""

    RESUMED = "resumed"
    RECOVERED = "recovered"
    REBUILT = "rebuilt"
    FRESH = "fresh"

    @property
    def rung(self) -> int:
        """The place on the ladder, 0 for the best."""
        return list(Outcome).index(self)


class Reason(StrEnum):
    """Why the outcome is what it is: the first four belong to `resumed`, the others name what was wrong."""

    VERIFIED = "verified"
    AHEAD = "ahead"
    INTERRUPTED = "interrupted"
    NEVER_PROMPTED = "never_prompted"

    MISSING = "missing"
    EMPTY = "empty"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    DIVERGED = "diverged"
    FOREIGN = "foreign"
    REJECTED = "rejected"
