"""A Hub on this machine: as much of its HTTP interface as fetching a model needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"


@dataclass
class StandIn:
    """Repositories by id; each holds files by name. `refused` gives the Hub's code for a repo."""

    repos: dict[str, dict[str, bytes]]
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    cut: int | None = None
    """Bytes of a file after which the next download breaks off."""
    url: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        path = path.partition("?")[0]
        if path.startswith("/api/models/"):
            repo, _, rest = path.removeprefix("/api/models/").partition("/revision/")
            tree = "/tree/" in repo
            repo, _, tree_rest = repo.partition("/tree/")
            refusal = self._refusal(repo, tree_rest if tree else rest or "main")
            if refusal:
                return refusal
            files = self.repos[repo]
            if tree:
                found = [
                    {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                    for name, data in files.items()
                ]
                return 200, {}, json.dumps(found).encode()
            siblings = [{"rfilename": name} for name in files]
            commit = OLDER if rest == "older" else COMMIT
            about = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings}
            return 200, {}, json.dumps(about).encode()
        repo, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        refusal = self._refusal(repo, revision)
        if refusal:
            return refusal
        data = self.repos[repo][name]
        return 200, {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": revision}, data

    def _refusal(self, repo: str, revision: str) -> tuple[int, dict[str, str], bytes] | None:
        status, code = self.refused.get(repo, (0, ""))
        if not status and repo not in self.repos:
            status, code = 404, "RepoNotFound"
        if not status and revision not in ("main", "older", COMMIT, OLDER):
            status, code = 404, "RevisionNotFound"
        return (status, {"X-Error-Code": code, "X-Error-Message": code}, b"") if status else None


def _etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextmanager
def serving(hub: StandIn) -> Iterator[StandIn]:
    """Serve the stand-in on a port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(body=True)

        def do_HEAD(self) -> None:
            self._send(body=False)

        def _send(self, body: bool) -> None:
            hub.asked.append(self.path)
            status, headers, data = hub.answer(self.path)
            total = len(data)
            if body and "/resolve/" in self.path:
                hub.sent.append(self.path.rpartition("/")[2] + " " + self.headers.get("Range", ""))
                begin = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
                if begin:
                    status, data = 206, data[begin:]
                    headers["Content-Range"] = f"bytes {begin}-{total - 1}/{total}"
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body and hub.cut is not None and len(data) > hub.cut and "/resolve/" in self.path:
                self.wfile.write(data[: hub.cut])
                self.wfile.flush()
                self.close_connection = True
            elif body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
