"""A hub on the loopback interface that speaks as much of the Hugging Face hub's API as its clients call to download, to
look and to upload: models and data sets, revisions, gates, and a connection that breaks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

TOKEN = "hf_" + "a" * 34
"""The one that the hub knows."""
USER = "somebody"
WHEN = "2026-01-01T00:00:00.000Z"


@dataclass
class Repository:
    """A model or a data set: its commits, the latest last, and the names of some of them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], name: str = "main") -> str:
        """Add a commit with these files besides those of the one before; its id."""
        before = self.commits.get(self.names.get(name, ""), {})
        content = {**before, **files}
        told = json.dumps({path: hashlib.sha1(data).hexdigest() for path, data in sorted(content.items())})
        made = hashlib.sha1(f"{len(self.commits)} {told}".encode()).hexdigest()
        self.commits[made] = content
        self.names[name] = made
        return made

    def at(self, revision: str) -> str | None:
        """The id of a commit by its name or itself."""
        return self.names.get(revision, revision if revision in self.commits else None)


class Hub:
    """The server, what it holds, and what it was asked."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.breaks: dict[str, int] = {}
        """By file: after how many bytes the first answer that holds it ends."""
        hub = self

        class Handler(Answer):
            served = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, kind: str, name: str, folder: Path, gated: bool = False, revision: str = "main") -> str:
        """A repository (`models`, `datasets`) with the files of a folder; the commit."""
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.gated = gated
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return repository.commit(files, revision)

    def files(self, kind: str, name: str) -> dict[str, bytes]:
        """The latest files of a repository."""
        repository = self.repositories[kind, name]
        return repository.commits[repository.names["main"]]


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers."""
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def environment(hub: Hub, cache: Path, token: str | None = None) -> dict[str, str]:
    """The variables by which a process asks this hub, and keeps what it gets in `cache`."""
    told = {"HF_ENDPOINT": hub.address, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    told |= {
        "HF_HUB_CACHE": str(cache / "hub"),
        "HF_DATASETS_CACHE": str(cache / "datasets"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return told | {"HF_TOKEN": token or ""}


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    served: Hub

    def log_message(self, *_: Any) -> None:
        """Nothing on the screen."""

    def do_GET(self) -> None:
        self._act("GET")

    def do_HEAD(self) -> None:
        self._act("HEAD")

    def do_POST(self) -> None:
        self._act("POST")

    def do_PUT(self) -> None:
        self._act("PUT")

    def _act(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else self._chunks()
        place = urlparse(self.path)
        path, self.query = unquote(place.path), parse_qs(place.query)
        self.served.asked.append(f"{method} {path}")
        for verb, pattern, act in ROUTES:
            if (match := re.fullmatch(pattern, path)) and method in verb:
                return act(self, **match.groupdict())
        return self._say(404, {"error": f"no such place: {path}"})

    def _chunks(self) -> bytes:
        """A body in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _say(self, code: int, content: Any, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        if not isinstance(content, bytes):
            self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def known(self) -> bool:
        """Whoever asks has the token."""
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _found(self, kind: str, name: str, revision: str = "main") -> tuple[Repository, str] | None:
        """The repository and commit, or None once it has been said why not."""
        repository = self.served.repositories.get((kind, name))
        if repository is None:  # as the hub does: whether a private one is there is nobody's business
            self._say(401 if not self.known else 404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        if repository.gated and not self.known:
            told = f"Access to {name} is restricted. You must have access to it and be authenticated to access it."
            self._say(401, {"error": told}, X_Error_Code="GatedRepo", X_Error_Message=told)
            return None
        commit = repository.at(revision)
        if commit is None:
            self._say(404, {"error": f"Invalid rev id: {revision}"}, X_Error_Code="RevisionNotFound")
            return None
        return repository, commit

    def info(self, kind: str, name: str, revision: str = "main") -> None:
        """What a repository is."""
        if found := self._found(kind, name, revision):
            repository, commit = found
            files = repository.commits[commit]
            content = {"id": name, "sha": commit, "private": False, "gated": False, "disabled": False, "tags": []}
            content |= {"downloads": 0, "likes": 0, "createdAt": WHEN, "lastModified": WHEN, "author": USER}
            content |= {"siblings": [{"rfilename": path, "size": len(data)} for path, data in sorted(files.items())]}
            content |= {"modelId": name} if kind == "models" else {}
            self._say(200, content)

    def tree(self, kind: str, name: str, revision: str, below: str | None = None) -> None:
        """Files of a repository, those of a folder alone where one is named."""
        if found := self._found(kind, name, revision):
            repository, commit = found
            files = repository.commits[commit]
            start = f"{below.strip('/')}/" if below and below.strip("/") else ""
            inside = {path: data for path, data in files.items() if path.startswith(start)}
            if start and not inside:
                return self._say(404, {"error": "no such folder"}, X_Error_Code="EntryNotFound")
            recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
            shown = {p: d for p, d in inside.items() if recursive or "/" not in p.removeprefix(start)}
            return self._say(200, [_entry(path, data) for path, data in sorted(shown.items())])
        return None

    def paths(self, kind: str, name: str, revision: str) -> None:
        """Some files of a repository."""
        if found := self._found(kind, name, revision):
            repository, commit = found
            files = repository.commits[commit]
            asked = json.loads(self.body)["paths"] if self.body[:1] == b"{" else parse_qs(self.body.decode())["paths"]
            self._say(200, [_entry(path, files[path]) for path in asked if path in files])

    def resolve(self, name: str, revision: str, file: str, kind: str | None = None) -> None:
        """A file, from a byte on where that is asked for."""
        found = self._found(kind or "models", name, revision)
        if not found:
            return None
        repository, commit = found
        data = repository.commits[commit].get(file)
        if data is None:
            return self._say(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        told = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(ranged[1]) if ranged else 0
        rest = data[start:]
        if ranged:
            told["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.command == "GET" and file in self.served.breaks:
            rest = rest[: self.served.breaks.pop(file)]
            self.close_connection = True
        return self._say(206 if ranged else 200, rest, Content_Length=str(len(data) - start), **told)

    def whoami(self) -> None:
        """Whose token it is."""
        if not self.known:
            return self._say(401, {"error": "Invalid username or password."})
        return self._say(
            200, {"name": USER, "type": "user", "fullname": USER, "orgs": [], "auth": {"type": "access_token"}}
        )

    def create(self) -> None:
        """A new repository."""
        if not self.known:
            return self._say(401, {"error": "Invalid username or password."})
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or USER}/{asked['name']}"
        kind = f"{asked.get('type') or 'model'}s"
        if (kind, name) in self.served.repositories:
            return self._say(409, {"error": "You already created this repo", "url": f"{self.served.address}/{name}"})
        if name.partition("/")[0] != USER:
            return self._say(403, {"error": "You don't have the rights to create a repo under this namespace"})
        self.served.repositories[kind, name] = Repository()
        self.served.repositories[kind, name].commit({})
        return self._say(200, {"url": f"{self.served.address}/{name}", "name": name, "id": name})

    def yaml(self) -> None:
        """Whether a card's metadata are right: as the hub has it, `model-index` needs names and numbers."""
        import yaml

        text = json.loads(self.body)["content"]
        metadata = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else {}
        wrong = [
            {"message": f"{metric} is no metric"}
            for model in metadata.get("model-index", [])
            for result in model["results"]
            for metric in result["metrics"]
            if not (isinstance(metric["type"], str) and isinstance(metric["value"], int | float))
        ]
        self._say(400 if wrong else 200, {"errors": wrong, "warnings": []})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        """How each file is to come: large ones by Git LFS."""
        if self._found(kind, name, revision):
            files = json.loads(self.body)["files"]
            told = [{"path": each["path"], "uploadMode": _mode(each["path"]), "shouldIgnore": False} for each in files]
            self._say(200, {"files": told})

    def lfs(self, name: str) -> None:
        """Where large files are to be put."""
        asked = json.loads(self.body)["objects"]
        told = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{self.served.address}/lfs/{each['oid']}"}},
            }
            for each in asked
        ]
        self._say(200, {"transfer": "basic", "objects": told})

    def put(self, oid: str) -> None:
        """A large file."""
        right = hashlib.sha256(self.body).hexdigest() == oid
        if right:
            self.served.objects[oid] = self.body
        self._say(200 if right else 400, {})

    def commit(self, kind: str, name: str, revision: str) -> None:
        """New files of a repository."""
        if not self.known:
            return self._say(401, {"error": "Invalid username or password."})
        files = {}
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.served.objects[value["oid"]]
        made = self.served.repositories[kind, name].commit(files, revision)
        url = f"{self.served.address}/{name}/commit/{made}"
        return self._say(200, {"success": True, "commitOid": made, "commitUrl": url, "hookOutput": ""})


def _mode(path: str) -> str:
    """How a file is uploaded: weights by Git LFS."""
    return "lfs" if path.endswith(".safetensors") else "regular"


def _entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as the hub lists it."""
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


KIND, NAME, REVISION = r"(?P<kind>models|datasets)", r"(?P<name>[\w.-]+(?:/[\w.-]+)?)", r"(?P<revision>[^/]+)"
ROUTES: list[tuple[str, str, Any]] = [
    ("GET HEAD", r"/", lambda answer: answer._say(200, {})),
    ("GET", r"/api/whoami-v2", Answer.whoami),
    ("POST", r"/api/repos/create", Answer.create),
    ("POST", r"/api/validate-yaml", Answer.yaml),
    ("POST", rf"/api/{KIND}/{NAME}/preupload/{REVISION}", Answer.preupload),
    ("POST", rf"/api/{KIND}/{NAME}/commit/{REVISION}", Answer.commit),
    ("POST", rf"/{NAME}\.git/info/lfs/objects/batch", Answer.lfs),
    ("PUT", r"/lfs/(?P<oid>\w+)", Answer.put),
    ("POST", rf"/api/{KIND}/{NAME}/paths-info/{REVISION}", Answer.paths),
    ("GET", rf"/api/{KIND}/{NAME}/tree/{REVISION}(?P<below>/.*)?", Answer.tree),
    ("GET HEAD", rf"/api/{KIND}/{NAME}/revision/{REVISION}", Answer.info),
    ("GET HEAD", rf"/api/{KIND}/{NAME}", Answer.info),
    ("GET HEAD", rf"(?:/(?P<kind>datasets))?/{NAME}/resolve/{REVISION}/(?P<file>.+)", Answer.resolve),
]
