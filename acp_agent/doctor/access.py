"""Checks of the way to the model: credentials, and the endpoint. No key is ever part of what is told."""

from __future__ import annotations

import os
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from acp_agent import config, credentials, models
from acp_agent.credentials import BadKey
from acp_agent.doctor.findings import Finding, ok, problem, skipped, warning
from acp_agent.doctor.situation import Situation
from acp_agent.loopback import is_loopback
from acp_agent.steps import Endpoint, GeminiEndpoint, OpenAIEndpoint, VertexEndpoint
from acp_agent.system import paths

_HOW = (
    "Run `acp-agent login`, or set GEMINI_API_KEY, or name another endpoint with --base-url;"
    " in an IDE, variables belong into the `env` of the agent's entry."
)


def keys(situation: Situation) -> Iterator[Finding]:
    """Whether there are credentials, where they come from, and whether others can read them."""
    settings, environment = situation.settings, situation.environment
    if settings.offline:
        yield ok("The offline model is set, which needs no credentials")
        return
    if settings.base_url is not None:
        yield ok("The endpoint of base_url is set, and gets no credentials from the agent")
        return
    variable = credentials.in_environment(environment)
    if variable == credentials.KEY_VARIABLE:
        yield from _in_variable(environment[variable])
    elif variable is not None:
        yield from _vertex(variable, environment)
    elif environment.get("GOOGLE_API_KEY"):
        yield warning("GOOGLE_API_KEY is set, and is not used.", "Give the key the name GEMINI_API_KEY.")
    yield from _kept(situation, needed=variable is None)


def _in_variable(text: str) -> Iterator[Finding]:
    try:
        same = credentials.checked(text).reveal() == text
        trouble = None if same else "it has white space around it"
    except BadKey as bad:
        trouble = str(bad).rstrip(".")
    if text[:1] in "\"'" and text[:1] == text[-1:]:
        trouble = "it has quotation marks around it"
    if trouble:
        yield problem(f"The key in GEMINI_API_KEY cannot be one: {trouble}.", "Set the variable to the bare key.")
    else:
        yield ok("A key comes from the environment: GEMINI_API_KEY")


def _vertex(variable: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    missing = [name for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION") if not environment.get(name)]
    if missing:
        yield problem(f"{variable} asks for Vertex AI, and {' and '.join(missing)} is not set.", "Set it as well.")
    else:
        yield ok(f"Vertex AI, from the environment: {variable}")
    named = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named and not Path(named).is_file():
        yield problem(
            "The file that GOOGLE_APPLICATION_CREDENTIALS names is not there.",
            "Correct the variable, or unset it and run `gcloud auth application-default login`.",
        )
    elif not named and not _gcloud(environment).is_file():
        yield warning(
            "No credentials of Google Cloud were found on this machine.",
            "Run `gcloud auth application-default login`, unless the machine itself has them.",
        )


def _gcloud(environment: Mapping[str, str]) -> Path:
    """Where `gcloud` keeps application-default credentials."""
    named = environment.get("CLOUDSDK_CONFIG")
    return (Path(named) if named else paths.google_cloud(environment)) / "application_default_credentials.json"


def _kept(situation: Situation, *, needed: bool) -> Iterator[Finding]:
    kept = situation.kept
    bad = problem if needed and kept.key is None else warning
    if kept.keyring_trouble:
        yield bad(
            kept.keyring_trouble,
            "Unlock the keyring and try again; or use GEMINI_API_KEY, or the file that `acp-agent login` writes.",
        )
    if kept.file_trouble:
        yield bad(
            kept.file_trouble,
            f"Run `acp-agent login` again, or remove {credentials.key_file()} if it is not used.",
        )
    if os.path.lexists(credentials.unfinished_file()):
        yield warning(
            f"{credentials.unfinished_file()} was left by a login that was cut, and holds a key.",
            "Run `acp-agent login` again, or remove the file.",
        )
    if kept.keyring and kept.seconds > credentials.KEYRING_SECONDS:
        yield warning(
            f"The system keyring took {kept.seconds:.1f} s to answer; the agent waits"
            f" {credentials.KEYRING_SECONDS:.0f} s, and then goes on without the key.",
            "Unlock the keyring before the IDE is started, or set GEMINI_API_KEY.",
        )
    if kept.key is not None:
        where = "the system keyring" if kept.keyring else str(credentials.key_file())
        yield ok(f"{'A key is' if needed else 'A key that is not used now is'} kept in {where}")
    elif needed and not (kept.keyring_trouble or kept.file_trouble):
        yield problem("There are no credentials for a model.", _HOW)


def endpoint(situation: Situation) -> Iterator[Finding]:
    """Whether the model endpoint can be reached, takes the key, and has the model that is set."""
    settings = situation.settings
    if settings.offline:
        yield ok("The offline model is in the agent itself")
        return
    needs_kept = config.needs_kept_key(settings, situation.environment)
    kept = situation.kept.key if needs_kept else None
    found = config.endpoint(settings, situation.environment, offline_url=None, kept=kept)
    if found is None:
        yield skipped("There are no credentials to ask with.")
    elif isinstance(found, VertexEndpoint):
        yield skipped("Vertex AI is not asked: it has no list of models that could be.")
    elif not situation.network:
        yield skipped("Not asked, for --offline.")
    else:
        url = found.base_url or models.GEMINI_API
        yield from _asked(found, url, settings.model)


def _proxy(url: str) -> str | None:
    """The host of the proxy that an endpoint is asked through, None if it is asked without one."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy is None or is_loopback(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    with suppress(ValueError):
        # Without a scheme as well, which Python takes; never with a user name or a password.
        return urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname or "that is set"
    return "that is set"


def _asked(found: Endpoint, url: str, model: str | None) -> Iterator[Finding]:
    where, host = shown(url), urlsplit(url).hostname or ""
    private: tuple[str, ...] = () if is_loopback(url) or host.endswith(".googleapis.com") else (where, host)
    if urlsplit(url).username is not None:
        # The harness can, and then answers; it is only the list that Python's client cannot have.
        yield warning(
            f"{where} was not asked: with a user name in the address the list of models cannot be read.",
            "Name the model with --model, or use an address without a user name.",
            private=private,
        )
        return
    through = _proxy(url)
    if through is not None:
        private = (*private, through)
        yield ok(f"It is asked through the proxy {through}", private=private)
    try:
        offered = models.listed(found)
    except (OSError, HTTPException, ValueError) as error:
        said, remedy = why(error, openai=isinstance(found, OpenAIEndpoint), proxy=through)
        yield problem(f"{where} {said}.", remedy, private=private)
        return
    takes = " and takes the key" if isinstance(found, GeminiEndpoint) else ""
    if not offered:
        yield warning(
            f"{where} answers{takes}, but lists no model.",
            "Check the address (Ollama and LM Studio want /v1 at its end), and that a model is installed there.",
            private=private,
        )
        return
    yield ok(f"{where} answers{takes}; it lists {len(offered)} models", private=private)
    if model is not None and model not in {each.id for each in offered}:
        near = ", ".join(sorted(each.id for each in offered)[:5])
        yield warning(
            f"The model that is set, {model}, is not in the list.", f"Choose one of the list ({near}, …)."
        )


def why(error: Exception, *, openai: bool, proxy: str | None = None) -> tuple[str, str]:
    """Why an endpoint could not be asked, as the end of a sentence, and what to do.

    Args:
        error: what `models.listed` raised.
        openai: whether it is an OpenAI-compatible endpoint, which gets no credentials.
        proxy: the host of the proxy that it was asked through.
    """
    if isinstance(error, urllib.error.HTTPError):
        return _status(error.code, openai=openai)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if proxy is not None and (refusal := re.search(r"Tunnel connection failed: (\d+)", str(cause))):
        if refusal[1] == "407":
            return _STATUSES[407]
        return f"cannot be reached: the proxy {proxy} refuses it ({refusal[1]})", _PROXY
    if proxy is not None and isinstance(cause, socket.gaierror | ConnectionRefusedError):
        silent = "is not found" if isinstance(cause, socket.gaierror) else "takes no connection"
        return f"cannot be reached: the proxy {proxy} {silent}", _PROXY
    found = next((words for kind, words in _CAUSES if isinstance(cause, kind)), None)
    if found is not None:
        return found
    said = (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__
    return f"cannot be reached: {said}", "Check the connection, the address and the proxy (HTTPS_PROXY)."


_PROXY: Final = "Correct the proxy (HTTPS_PROXY), or add the endpoint to NO_PROXY if it can be reached without."

_CAUSES: Final = (
    (
        socket.gaierror,
        ("cannot be found: its name has no address", "Check the address, and the connection to the network."),
    ),
    (
        ssl.SSLCertVerificationError,
        (
            "has a certificate that is not trusted here",
            "Check the clock. If a proxy opens connections, give Python its certificate: SSL_CERT_FILE.",
        ),
    ),
    (
        ssl.SSLError,
        ("does not speak TLS as it should", "Check whether the address begins with http:// or https://."),
    ),
    (
        ConnectionRefusedError,
        ("takes no connection: nothing listens there", "Start the server, or correct the address."),
    ),
    (
        TimeoutError,
        (
            f"does not answer in {models.SECONDS:.0f} s",
            "Check the connection and the proxy (HTTPS_PROXY, NO_PROXY), and whether the server is busy.",
        ),
    ),
    (HTTPException, ("answers with something that is not HTTP", "Check the address and its port.")),
    (
        ValueError,
        (
            "answers with something that is no list of models",
            "Check the address: a web page, or the login page of a network, may answer in its place.",
        ),
    ),
)
"""Errors of a request, the special ones first, and what is said of each."""

_REFUSED: Final = "Make a new key and run `acp-agent login`, or correct GEMINI_API_KEY."

_STATUSES: Final = {
    400: ("refuses the key (400)", _REFUSED),
    401: ("refuses the key (401)", _REFUSED),
    403: ("refuses the key (403)", _REFUSED),
    404: (
        "has no list of models (404)",
        "Check the address: its path, and a /v1 at its end for Ollama and LM Studio.",
    ),
    407: (
        "is behind a proxy that wants credentials (407)",
        "Put them into HTTPS_PROXY, as http://user:password@host.",
    ),
    429: ("takes no more requests for now (429)", "Wait, or look at the quota of the key."),
}


def _status(code: int, *, openai: bool) -> tuple[str, str]:
    if openai and code in (401, 403):
        return (
            f"wants credentials ({code}), and the agent sends it none",
            "Use an endpoint that needs none, or one on this machine that adds them.",
        )
    if code >= 500:
        return f"is in trouble itself ({code})", "Try again later; the agent cannot do anything about it."
    return _STATUSES.get(code) or (f"answers with {code}", "Check the address.")


def shown(url: str) -> str:
    """An address without the user, the password and the query that may be in it."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
