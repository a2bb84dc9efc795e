"""Resumable agents on the Antigravity SDK: the only package that imports it, and what others can build on.

    async with ResumableAgent.open(config, data_dir=folder) as agent:
        end = await agent.chat("…")
        checkpoint = await agent.save_trajectory()

`docs/library.md` has a whole example.
"""

from acp_agent.antigravity.keeping import CancelledBefore
from acp_agent.antigravity.loading import ResumeRefused, Wishes
from acp_agent.antigravity.resumable import ResumableAgent, TurnEnd, TurnInProgress
from acp_agent.antigravity.stage import Audience
from acp_agent.steps import HarnessError
from sessions.report import CheckpointReport, Outcome, Reason, ResumeReport

__all__ = [
    "Audience",
    "CancelledBefore",
    "CheckpointReport",
    "HarnessError",
    "Outcome",
    "Reason",
    "ResumableAgent",
    "ResumeRefused",
    "ResumeReport",
    "TurnEnd",
    "TurnInProgress",
    "Wishes",
]
