"""The path prefix under which a proxy publishes the service: "/digits" of https://example.org/digits/predict.

It is the header X-Forwarded-Prefix of a trusted proxy, else DIGITS_PREFIX. A proxy may remove it from the path or not:
both paths are answered. As SCRIPT_NAME of WSGI (PEP 3333), it is part of every address in pages and documents.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from service.settings import SettingError, Settings, is_path_prefix, split_list

EVERY_CLIENT = "*"


def remove_prefix(path: str, prefix: str) -> str:
    """The path without a prefix, if it has it: "/predict" of "/digits/predict"."""
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        return path[len(prefix) :] or "/"
    return path


def apply_prefix(application: WSGIApplication, settings: Settings) -> WSGIApplication:
    """Wrap a WSGI application: the prefix of each request is its SCRIPT_NAME, and no part of its PATH_INFO."""

    def handle(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        prefix = settings.prefix
        if "HTTP_X_FORWARDED_PREFIX" in environ:
            sent = environ["HTTP_X_FORWARDED_PREFIX"].rstrip("/")
            is_believed = is_trusted(environ.get("REMOTE_ADDR", ""), settings.trusted_proxies)
            prefix = sent if is_believed and is_path_prefix(sent) else prefix
        if prefix:
            environ["SCRIPT_NAME"] = prefix
            environ["PATH_INFO"] = remove_prefix(environ.get("PATH_INFO", ""), prefix)
        return application(environ, start_response)

    return handle


@lru_cache(maxsize=1024)
def is_trusted(address: str, proxies: str) -> bool:
    """Whether an address of a peer is one of DIGITS_TRUSTED_PROXIES. An IPv4 address may be mapped to IPv6."""
    entries = split_list(proxies)
    if EVERY_CLIENT in entries:
        return True
    try:
        peer = ip_address(address)
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in ip_network(entry) for entry in entries)


def check_prefix(prefix: str, routes: Iterable[str]) -> None:
    """Check that no path of a route begins with the prefix, so that a path has one meaning.

    Args:
        prefix: DIGITS_PREFIX.
        routes: the routes, as rules of Flask: "/static/<digest>/<name>".

    Raises:
        SettingError: a path may.
    """
    for route in routes if prefix else ():
        fixed, variable, _ = route.partition("<")
        if f"{fixed}/".startswith(f"{prefix}/") or (variable and f"{prefix}/".startswith(fixed)):
            raise SettingError("DIGITS_PREFIX", prefix, f"a path with which no route begins; {route} does")
