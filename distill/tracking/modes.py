"""Whether W&B is on, and which server is meant."""

import netrc
import os
import socket
from urllib.parse import ParseResult, urlparse

HOST_ENV = "WANDB_BASE_URL"
_TIMEOUT = 3.0  # seconds that a server may take to accept a connection


def resolve_mode(mode: str) -> tuple[str, str]:
    """The W&B mode that ``tracking.mode`` means here, and why.

    ``auto`` follows ``WANDB_MODE`` where it is set; else online where there is a key and the
    server answers, and offline otherwise. No frame and no number is sent to find out.
    """
    if mode != "auto":
        return mode, f"tracking.mode={mode}"
    wanted = os.environ.get("WANDB_MODE", "")
    if wanted in ("online", "offline"):
        return wanted, f"WANDB_MODE={wanted}"
    if wanted in ("disabled", "dryrun"):
        return ("off" if wanted == "disabled" else "offline"), f"WANDB_MODE={wanted}"
    reason = why_unreachable()
    return ("offline", reason) if reason else ("online", "a W&B key and a network")


def why_unreachable() -> str:
    """Why nothing can be sent to W&B from here; empty where it can."""
    server = _server()
    host = server.hostname or ""
    if not os.environ.get("WANDB_API_KEY") and not _netrc_has(host):
        return "no W&B key (`wandb login` to send runs)"
    port = server.port or (80 if server.scheme == "http" else 443)
    try:
        socket.create_connection((host, port), timeout=_TIMEOUT).close()
    except OSError:
        return f"{host} does not answer"
    return ""


def _server() -> ParseResult:
    given = os.environ.get(HOST_ENV)
    if not given:
        import wandb  # its default has moved between versions

        given = wandb.Settings().base_url
    return urlparse(str(given))


def _netrc_has(host: str) -> bool:
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
