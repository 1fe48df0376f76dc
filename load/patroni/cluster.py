"""Runs etcd and two PostgreSQL servers that Patroni manages. Methods block.

Settings of Patroni: https://patroni.readthedocs.io/en/latest/yaml_configuration.html
"""

import json
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from load.system.ports import HOST, reserve_port
from load.system.postgresql import ENVIRONMENT, give_away, kill_server, without_privileges
from load.system.processes import kill_family

NAMES = ("db1", "db2")
ANSWER_S = 5.0
LEADER, SYNC_STANDBY = "leader", "sync_standby"


class Program:
    """A program in a folder of its own, which PostgreSQL's user runs. Its output is added to a file beside it."""

    def __init__(self, folder: Path, program: str, *arguments: str) -> None:
        folder.mkdir(mode=0o700)
        give_away(folder)
        self.folder = folder
        self._command = [shutil.which(program) or program, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.folder.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**ENVIRONMENT, "HOME": str(self.folder)},
                # A new session, so that Ctrl-C does not end the program.
                start_new_session=True,
                **without_privileges(),
            )

    def kill(self) -> None:
        """Kill the program and all its descendants; can be called twice."""
        if self._process is not None and self._process.poll() is None:
            kill_family(self._process.pid)
            self._process.wait()


class Member(Program):
    """A PostgreSQL server on the port `port`, and the Patroni that manages it, whose API is on the port `api`."""

    def __init__(self, folder: Path, *, port: int, api: int) -> None:
        super().__init__(folder, "patroni", str(folder / "patroni.json"))
        self.name = folder.name
        self.port = port
        self.api = api
        self.data = folder / "data"

    def kill(self) -> None:
        """Kill Patroni and all processes of PostgreSQL."""
        super().kill()
        kill_server(self.data)


class PatroniCluster:
    """Two PostgreSQL servers in `folder`, with synchronous replication. The end of `with` kills them.

    If the primary is lost, Patroni promotes the standby after `ttl_s`. `programs` is the folder of PostgreSQL's
    programs. Programs on this machine can only connect with the password, which is in `password_file`.
    """

    def __init__(self, folder: Path, *, programs: Path, ttl_s: int) -> None:
        self._programs = programs
        self._ttl_s = ttl_s
        self._password = secrets.token_hex(16)
        self._stack = ExitStack()
        etcd, peers, *ports = (self._reserve_port() for _ in range(2 + 2 * len(NAMES)))
        self._etcd_url, peers_url = f"http://{HOST}:{etcd}", f"http://{HOST}:{peers}"
        self.etcd = Program(
            folder / "etcd",
            "etcd",
            *(f"--data-dir={folder / 'etcd' / 'data'}", "--log-level=warn"),
            *(f"--listen-client-urls={self._etcd_url}", f"--advertise-client-urls={self._etcd_url}"),
            *(f"--listen-peer-urls={peers_url}", f"--initial-advertise-peer-urls={peers_url}"),
            f"--initial-cluster=default={peers_url}",
        )
        self.members = {
            name: Member(folder / name, port=port, api=api)
            for name, port, api in zip(NAMES, ports[::2], ports[1::2], strict=True)
        }
        self.password_file = folder / "password"

    def _reserve_port(self) -> int:
        port: int = self._stack.enter_context(reserve_port()).getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The URL of the database, with both servers."""
        hosts = ",".join(f"{HOST}:{member.port}" for member in self.members.values())
        return f"postgresql://orders@{hosts}/postgres?passfile={self.password_file}"

    def __enter__(self) -> "PatroniCluster":
        for program in (self.etcd, *self.members.values()):
            self._stack.callback(program.kill)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start_members(self) -> None:
        """Start both members. etcd must require the password."""
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(f"*:*:*:orders:{self._password}\n")
        for member in self.members.values():
            configuration = member.folder / "patroni.json"
            configuration.touch(mode=0o600)
            give_away(configuration)
            configuration.write_text(json.dumps(self._configuration(member)))
            member.start()

    def is_replicated(self) -> bool:
        """Return whether one member is the primary, and the other one is its synchronous standby."""
        return sorted(self.roles().values()) == [LEADER, SYNC_STANDBY]

    def primary(self) -> Member | None:
        roles = self.roles()
        return next((member for name, member in self.members.items() if roles.get(name) == LEADER), None)

    def roles(self) -> Mapping[str, str]:
        """Return the role of each member that runs, as a Patroni that responds knows it."""
        for member in self.members.values():
            with suppress(HTTPError, ValueError, KeyError):
                answer = urllib3.request("GET", f"http://{HOST}:{member.api}/cluster", retries=False, timeout=ANSWER_S)
                return {each["name"]: each["role"] for each in answer.json()["members"] if each["state"] == "running"}
        return {}

    def protect_etcd(self) -> bool:
        """Make etcd require the password, and return whether that was possible. It fails until etcd has started.

        PostgreSQL's user executes commands that are in the settings of Patroni, which are in etcd.

        https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/
        """

        def call(path: str, parameters: Mapping[str, str]) -> bool:
            url = f"{self._etcd_url}/v3/auth/{path}"
            return urllib3.request("POST", url, json=parameters, retries=False, timeout=ANSWER_S).status == 200

        with suppress(HTTPError):
            call("user/add", {"name": "root", "password": self._password})
            call("user/grant", {"user": "root", "role": "root"})
            return call("enable", {})
        return False

    def _configuration(self, member: Member) -> object:
        user = {"username": "orders", "password": self._password}
        host, api = f"{HOST}:{member.port}", f"{HOST}:{member.api}"
        return {
            "scope": "orders",
            "name": member.name,
            "restapi": {"listen": api, "connect_address": api, "authentication": user},
            "etcd3": {"host": self._etcd_url.removeprefix("http://"), "username": "root", "password": self._password},
            "bootstrap": {
                "dcs": {
                    "ttl": self._ttl_s,
                    "loop_wait": self._ttl_s // 3,
                    "retry_timeout": self._ttl_s // 3,
                    "synchronous_mode": True,
                    "postgresql": {"use_pg_rewind": True, "remove_data_directory_on_diverged_timelines": True},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "scram-sha-256"}],
            },
            "postgresql": {
                "listen": host,
                "connect_address": host,
                "data_dir": str(member.data),
                "bin_dir": str(self._programs),
                "pgpass": str(member.folder / "pgpass"),
                "authentication": {"superuser": user, "replication": user},
                "pg_hba": [f"host {name} all {HOST}/32 scram-sha-256" for name in ("all", "replication")],
                "parameters": {"unix_socket_directories": ""},
            },
        }
