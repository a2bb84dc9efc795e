"""`acp-client` from PyPI: it never takes a session that was killed for a fresh one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest
from filelock import FileLock

from tests.clients.conftest import CACHE, Place

pytestmark = [pytest.mark.clients, pytest.mark.anyio]
VERSION = "0.1.0"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def acp_client() -> ModuleType:
    """The package, installed into the cache."""
    CACHE.mkdir(exist_ok=True)
    target = CACHE / f"acp-client-{VERSION}"
    with FileLock(CACHE / "lock"):
        if not target.exists():
            install = ("pip", "install", "--quiet", "--no-deps", "--target", str(target), f"acp-client=={VERSION}")
            subprocess.run((sys.executable, "-m", *install), check=True)
    spec = importlib.util.spec_from_file_location("acp_client", target / "acp_client" / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_killed_session_is_not_fresh(
    acp_client: ModuleType, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    first = acp_client.Agent(place.command, place.workspace)
    await first.start()
    assert first.fresh
    await first.ask("one")
    session_id = first.session
    place.kill_agent()
    second = acp_client.Agent(place.command, place.workspace, session=session_id)
    replayed: list[object] = []
    await second.start(replayed.append)
    assert (second.session, second.fresh) == (session_id, False)
    assert "one" in str(replayed)
    answer = await second.ask(lambda fresh: "fresh" if fresh else "two")
    assert "I can see 2 of your messages" in answer
    assert place.turns() == ("one", "two")
    # Killed in the middle of a turn, and before any.
    place.kill_agent()
    third = acp_client.Agent(place.command, place.workspace, session=session_id)
    await third.start()
    assert (third.session, third.fresh) == (session_id, False)
    await third.stop()
