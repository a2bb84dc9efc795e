"""A session's life as one page of HTML that needs nothing else: no network, no storage, no script to be read.

Everything is in the file. A policy in it forbids the browser to load anything, and to run any script but the one
that is written here, which is known by its hash. Whatever was said in the session is escaped or rendered without
HTML (`content`).
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from acp_agent.session_page import view
from sessions.life import Life

__all__ = ["render"]


def render(life: Life) -> str:
    """The page, while the life is open for reading."""
    script, style = (_source(name) for name in ("page.js", "page.css"))
    environment = Environment(
        loader=PackageLoader(__name__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        page=view.page(life),
        script=Markup(script),  # noqa: S704  (ours)
        style=Markup(style),  # noqa: S704  (ours)
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _source(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
