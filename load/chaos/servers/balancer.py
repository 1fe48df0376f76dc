"""Runs Caddy as a load balancer in front of the servers of a target. Runs on the event loop."""

import asyncio
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from load.chaos.servers.node import RunFailed, address_of
from load.http.address import Address
from load.http.connection import NoResponse, Response, send_once
from load.system.ports import reserve_port

PROGRAM = "caddy"
START_LIMIT_S, POLL_EVERY_S = 30.0, 0.05
SENT_BY = re.compile(rb"\r\nx-node: 127\.0\.0\.1:(\d+)")
# Caddy sends a request to another server only if it could not connect to the first one, or if it is a GET. But Caddy
# 2.6 can't send a body again, and responds with a 502: "invalid Read on closed Body".
CONFIGURATION = """{
    admin off
    auto_https off
    default_bind 127.0.0.1
    log {
        level WARN
    }
}
http://127.0.0.1:PORT {
    reverse_proxy SERVERS {
        lb_policy random
        lb_try_duration 2s
        lb_try_interval 100ms
        health_uri /readyz
        health_interval 1s
        health_timeout 2s
        header_down X-Node {http.reverse_proxy.upstream.hostport}
        transport http {
            dial_timeout 1s
        }
    }
}
"""


class Balancer:
    """Passes requests on to the `servers` that are ready. Its files are in `folder`, which must exist at the start."""

    def __init__(self, folder: Path, servers: Sequence[Address]) -> None:
        self._folder = folder
        self._servers = {b"%d" % server.url.port: node for node, server in enumerate(servers)}
        self._reserved_port = reserve_port()
        self.address = address_of(self._reserved_port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> str:
        servers = " ".join(f"127.0.0.1:{port.decode()}" for port in self._servers)
        return CONFIGURATION.replace("PORT", str(self.address.url.port)).replace("SERVERS", servers)

    async def start(self) -> None:
        """Start Caddy, and wait until it responds. Raises RunFailed if it does not."""
        self._launch()
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not await self._responds():
                    self.check()
                    await asyncio.sleep(POLL_EVERY_S)
        except TimeoutError:
            raise RunFailed(f"the load balancer does not respond: see {self._folder.name}/caddy.log") from None

    def _launch(self) -> None:
        file = self._folder / "Caddyfile"
        file.write_text(self.configuration)
        with (self._folder / "caddy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "run", "--config", file, "--adapter", "caddyfile"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self._folder), "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""},
                # A new session, so that Ctrl-C does not end Caddy.
                start_new_session=True,
            )

    async def _responds(self) -> bool:
        try:
            await send_once(self.address, self.address.get("/readyz"))
        except NoResponse:
            return False
        return True

    def check(self) -> None:
        """Raise RunFailed if Caddy has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise RunFailed(f"the load balancer has ended: see {self._folder.name}/caddy.log")

    def node_of(self, response: Response) -> int | None:
        """Return the index of the server that sent a response, or None if it is the balancer's own."""
        found = SENT_BY.search(response.head)
        return self._servers[found[1]] if found else None

    def close(self) -> None:
        """Kill Caddy and free the port; can be called twice. Blocks for a moment."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._reserved_port.close()
