"""A stand-in for the Hugging Face Hub: a server with the endpoints that huggingface_hub calls for models.

It keeps files in memory. Large files take the way of Git LFS, as on the Hub: everything that ends in .safetensors.
"""

import base64
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_stand_in"
USER = "tester"


@dataclass
class Repository:
    """A repository: the files of every commit, by its name."""

    private: bool
    commits: dict = field(default_factory=dict)

    @property
    def head(self):
        return next(reversed(self.commits), None)

    def commit(self, files):
        content = dict(self.commits.get(self.head, {})) | files
        name = sha1(repr(sorted((path, sha256(raw).hexdigest()) for path, raw in content.items())).encode()).hexdigest()
        self.commits[name] = content
        return name


class Hub(ThreadingHTTPServer):
    """The server; `repositories` are those by name, `requests` the methods and paths that were asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.objects, self.requests = {}, {}, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.answer()

    def do_HEAD(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def answer(self):
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        routes = {
            r"/api/repos/create": self.create,
            r"/api/validate-yaml": self.validate,
            r"/api/models/(\w+/[\w.-]+)/preupload/(\w+)": self.preupload,
            r"/api/models/(\w+/[\w.-]+)/commit/(\w+)": self.commit,
            r"/api/models/(\w+/[\w.-]+)": self.info,
            r"/api/models/(\w+/[\w.-]+)/revision/(\w+)": self.info,
            r"/api/models/(\w+/[\w.-]+)/tree/(\w+)": self.tree,
            r"/(\w+/[\w.-]+)\.git/info/lfs/objects/batch": self.batch,
            r"/objects/(\w+)": self.store,
            r"/(\w+/[\w.-]+)/resolve/(\w+)/(.+)": self.resolve,
        }
        for pattern, route in routes.items():
            if match := re.fullmatch(pattern, path):
                route(body, *match.groups())
                return
        self.fail(404, "EntryNotFound", f"the stand-in has no {self.command} {path}")

    @property
    def is_logged_in(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def send(self, content, status=200, **headers):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def fail(self, status, code, message):
        self.send({"error": message}, status, X_Error_Code=code, X_Error_Message=message)

    def repository(self, name):
        """The repository of this name, if the request may read it; otherwise the answer is sent."""
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self.is_logged_in):
            self.fail(401, "RepoNotFound", "Repository not found")
            return None
        return repository

    def create(self, body):
        if not self.is_logged_in:
            self.fail(401, "", "Invalid username or password.")
            return
        request = json.loads(body)
        owner = request.get("organization") or USER
        name = f"{owner}/{request['name'].rpartition('/')[2]}"
        address = {"url": f"{self.server.address}/{name}", "name": name, "id": name}
        if owner != USER:
            self.fail(403, "", f"You don't have the rights to create a model under the namespace {owner!r}.")
        elif name in self.server.repositories:
            self.send(address | {"error": "You already created this model repo"}, 409)
        else:
            private = request.get("private") or request.get("visibility") == "private"
            self.server.repositories[name] = Repository(bool(private))
            self.server.repositories[name].commit({".gitattributes": b""})
            self.send(address)

    def validate(self, body):
        assert json.loads(body)["content"].startswith("---\n")
        self.send({"errors": [], "warnings": []})

    def preupload(self, body, name, revision):
        files = []
        for file in json.loads(body)["files"]:
            mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None})
        self.send({"files": files})

    def batch(self, body, name):
        answers = []
        for item in json.loads(body)["objects"]:
            action = {"upload": {"href": f"{self.server.address}/objects/{item['oid']}"}}
            answers.append({**item, "authenticated": True, "actions": action})
        self.send({"transfer": "basic", "objects": answers}, Content_Type="application/vnd.git-lfs+json")

    def store(self, body, oid):
        assert sha256(body).hexdigest() == oid
        self.server.objects[oid] = body
        self.send({})

    def commit(self, body, name, revision):
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                files[entry["value"]["path"]] = self.server.objects[entry["value"]["oid"]]
        oid = self.server.repositories[name].commit(files)
        self.send({"commitUrl": f"{self.server.address}/{name}/commit/{oid}", "commitOid": oid, "hookOutput": ""})

    def commit_of(self, repository, revision):
        """The commit that a revision names; otherwise the answer is sent."""
        commit = repository.head if revision == "main" else revision
        if commit not in repository.commits:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit

    def info(self, body, name, revision="main"):
        repository = self.repository(name)
        commit = repository and self.commit_of(repository, revision)
        if commit:
            siblings = [{"rfilename": path} for path in repository.commits[commit]]
            about = {"private": repository.private, "tags": [], "downloads": 0, "likes": 0}
            self.send({"id": name, "modelId": name, "sha": commit, "siblings": siblings, **about})

    def tree(self, body, name, revision):
        repository = self.repository(name)
        commit = repository and self.commit_of(repository, revision)
        if commit:
            entries = []
            for path, raw in repository.commits[commit].items():
                entries.append({"type": "file", "path": path, "size": len(raw), "oid": sha1(raw).hexdigest()})
            self.send(entries)

    def resolve(self, body, name, revision, path):
        repository = self.repository(name)
        commit = repository and self.commit_of(repository, revision)
        if not commit:
            return
        raw = repository.commits[commit].get(path)
        if raw is None:
            self.fail(404, "EntryNotFound", f"Entry not found: {path}")
        else:
            self.send(raw, ETag=f'"{sha256(raw).hexdigest()}"', X_Repo_Commit=commit)


@contextmanager
def running_hub():
    """Run the stand-in while the body runs."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
