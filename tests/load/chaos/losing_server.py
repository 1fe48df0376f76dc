"""Runs a server that acknowledges every order and stores none. Tests start this module as a program."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COUNTS = ("total", "pending", "processing", "completed", "failed", "cancelled")


class LosingHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/order":
            order_id = json.loads(body)["order_id"]
            self._answer(202, {"order_id": str(order_id)}, Location=f"/order/{order_id}")
        else:
            orders = json.loads(body) if body.startswith(b"[") else body.splitlines()
            counts = {"accepted": len(orders), "duplicates": 0, "rejected": [], "rejected_total": 0}
            self._answer(202, counts)

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, {f"{name}_orders": 0 for name in COUNTS})
        else:
            self._answer(404, {})

    def _answer(self, status: int, body: dict[str, Any], **headers: str) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        pass


if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", port), LosingHandler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
