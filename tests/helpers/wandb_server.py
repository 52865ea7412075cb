"""A stand-in for W&B's server: takes what clients send, says yes to all of it, and keeps a list.

It knows as much of W&B's GraphQL as wandb 0.31 needs to send an offline run to its end. What the
real server makes of a request it does not show.
"""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0" * 40


@dataclass
class StandIn:
    """A running server.

    Attributes:
        url: of it, for ``WANDB_BASE_URL``.
        asked: GraphQL operations and their variables, in order.
        uploaded: bytes of every file.
    """

    url: str
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    uploaded: list[bytes] = field(default_factory=list)

    def of(self, operation: str) -> list[dict[str, Any]]:
        """Variables of every request of an operation."""
        return [variables for name, variables in self.asked if name == operation]


@contextmanager
def wandb_server() -> Iterator[StandIn]:
    """Serve on a free port of this machine."""
    stand_in = StandIn("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_PUT(self) -> None:
            stand_in.uploaded.append(self._body())
            self._answer({})

        def do_POST(self) -> None:
            body = self._body()
            if "graphql" not in self.path:
                self._answer({})
                return
            request = json.loads(body)
            named = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            operation = request.get("operationName") or (named[1] if named else "")
            given = request.get("variables") or {}
            variables = given.get("input") or given
            stand_in.asked.append((operation, variables))
            self._answer({"data": _reply(operation, variables, stand_in.url)})

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                data = b""
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            packed = self.headers.get("Content-Encoding") == "gzip"
            return gzip.decompress(data) if packed else data

        def _answer(self, answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *words: object) -> None:
            """A client that ends drops its connections."""

    server = Server(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


def _reply(operation: str, asked: dict[str, Any], url: str) -> dict[str, Any]:
    file = {"id": "file", "name": "m", "displayName": "m", "uploadUrl": f"{url}/up",
            "uploadHeaders": []}  # fmt: skip
    manifest = {"artifactManifest": {"id": "manifest", "file": file}}
    if operation == "UpsertBucket":
        project = {"id": "project", "name": asked["project"],
                   "entity": {"id": "entity", "name": "somebody"}}  # fmt: skip
        bucket = {"id": "run", "name": asked["name"], "config": "{}", "historyLineCount": 0,
                  "displayName": asked["displayName"], "project": project}  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}
    if operation == "CreateArtifact":
        artifact = {"id": f"id of {asked['artifactCollectionName']}", "state": "PENDING",
                    "artifactSequence": {"id": "sequence", "latestArtifact": None}}  # fmt: skip
        return {"createArtifact": {"artifact": artifact}}
    if operation in ("CreateArtifactManifest", "UpdateArtifactManifest"):
        return {operation[0].lower() + operation[1:]: manifest}
    if operation == "CreateArtifactFiles":
        edges = [
            {"node": {**file, "name": each["name"], "storagePath": "s",
                      "artifact": {"id": each["artifactID"]}}}
            for each in asked["artifactFiles"]
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": edges}}}
    if operation == "CommitArtifact":
        return {"commitArtifact": {"artifact": {"id": asked["artifactID"], "digest": "d"}}}
    if operation == "UseArtifact":
        return {"useArtifact": {"artifact": {"id": asked["artifactID"]}}}
    if operation == "CreateRunFiles":
        files = [{"name": name, "uploadUrl": f"{url}/up"} for name in asked["files"]]
        return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}
    if operation == "Viewer":
        return {"viewer": {"id": "viewer", "entity": "somebody", "username": "somebody",
                           "flags": "{}", "teams": {"edges": []}}}  # fmt: skip
    if operation == "ArtifactType":
        return {"project": None}  # none of that name yet
    if operation == "UpsertView2":
        return {"upsertView": {"view": {"id": "view", "name": "nw-abc-v"}, "inserted": True}}
    return {}
