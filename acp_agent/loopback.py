"""Addresses inside this machine, which no proxy can reach in the agent's place. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine itself: `localhost`, or an address that the kernel loops back."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # no address, or no URL
        return False
