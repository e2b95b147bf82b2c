"""Serves a folder of pages to this machine alone."""

from __future__ import annotations

import errno
import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tnbench.core.errors import UsageError

LOOPBACK = "127.0.0.1"


def bound_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of `folder` that holds a port of the loopback interface, and answers in its ``serve_forever``.

    Port 0 takes a free one. Raises UsageError where the port cannot be had.
    """
    try:
        return ThreadingHTTPServer((LOOPBACK, port), functools.partial(_Pages, directory=str(folder)))
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        raise UsageError(f"--port: port {port} {reason}; give another, or 0 for any that is free") from None


def address(server: ThreadingHTTPServer) -> str:
    """Where a browser finds it."""
    return f"http://{LOOPBACK}:{server.server_port}/"


class _Pages(SimpleHTTPRequestHandler):
    """Files of the folder. Nothing is logged: asv's page asks for curves of machines that have none, and goes on."""

    def log_message(self, format: str, *args: object) -> None:
        pass
