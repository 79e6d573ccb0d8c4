"""A web server on loopback that can be told to misbehave, and small archives for it to serve."""

import http.server
import io
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Server:
    """What the server has and how it behaves; lists are used up, one item a request."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)  # bytes of a body after which the connection ends
    codes: list[int] = field(default_factory=list)  # answered instead of the file
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    pause: float = 0.0  # seconds between the pieces of a body
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)  # path, Range, If-Range

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


class _Handler(http.server.BaseHTTPRequestHandler):
    behaviour: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        told, name = self.behaviour, self.path.lstrip("/")
        told.asked.append((name, self.headers.get("Range"), self.headers.get("If-Range")))
        if told.codes and (code := told.codes.pop(0)) != 200:
            self.send_error(code)
        elif name in told.redirects:
            self.send_response(302)
            self.send_header("Location", told.redirects[name])
            self.end_headers()
        elif name not in told.files:
            self.send_error(404)
        else:
            self._send(told.files[name], told.etags.get(name))

    def _send(self, content: bytes, etag: str | None) -> None:
        told, start = self.behaviour, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and told.ranges and self.headers.get("If-Range", etag) == etag:
            start = int(wanted[1])
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if etag:
            self.send_header("ETag", etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if told.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        cut = told.cuts.pop(0) if told.cuts else None
        body = body if cut is None else body[:cut]
        for place in range(0, len(body), 1000):
            try:
                self.wfile.write(body[place : place + 1000])
            except (BrokenPipeError, ConnectionResetError):
                return
            time.sleep(told.pause)


@contextmanager
def serving() -> Iterator[Server]:
    behaviour = Server()
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.daemon_threads = True
        behaviour.address = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield behaviour
        httpd.shutdown()
        thread.join()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as packed:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
