"""A folder as a web site of this machine, which can be told to misbehave."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class Site(ThreadingHTTPServer):
    """A site on the loopback interface.

    Attributes:
        url: of the folder, without a slash at its end.
        asked: path -> how often a GET asked for it.
        faults: path -> what the next GETs get: a status, or "cut" for half of the file.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: Counter[str] = Counter()
        self.faults: dict[str, list[int | str]] = {}


class _Handler(SimpleHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.server.asked[path] += 1
        fault = next(iter(self.server.faults.get(path, [])), None)
        if fault is None:
            super().do_GET()
            return
        self.server.faults[path].pop(0)
        if isinstance(fault, int):
            self.send_error(fault)
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """The site, up for as long as the context lasts."""
    with Site(folder) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        try:
            yield site
        finally:
            site.shutdown()
