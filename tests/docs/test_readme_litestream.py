"""Runs the commands of models/README.md for Litestream beside a real server, which is killed under load."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.live_orders import assert_all_completed, post_all
from tests.process import DEADLINE_S, HANGS_AFTER_S, PostingClients, ServerProcess, has_values_of, order, wait_until
from tests.readme import MODELS, example, make_checkout

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
DATABASE, REPLICA = "/var/lib/orders/orders.db", "/mnt/backup/orders"


class Setup:
    """A folder with the configuration of the page, and the commands of the page, with paths in this folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "orders.db"
        self._folder = folder
        make_checkout(folder)
        (folder / "litestream.yml").write_text(self._here(example("dbs:\n", MODELS).text))
        restore, self._restore_file, reset = example("litestream restore", MODELS).text.splitlines()
        self._restore, self._reset = self._here(restore), self._here(reset)

    def _here(self, text: str) -> str:
        return text.replace(DATABASE, str(self.path)).replace(REPLICA, str(self._folder / "replica"))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER_S,
            check=False,
        )

    @contextmanager
    def replicating(self) -> Iterator[subprocess.Popen[bytes]]:
        """Runs Litestream until the end of the block, and then kills it."""
        command = ["bash", "-c", f"exec {example('litestream replicate', MODELS).text}"]
        with (
            (self._folder / "litestream.log").open("ab") as log,
            subprocess.Popen(
                command, cwd=self._folder, env={**os.environ, "PATH": PATH}, stdout=log, stderr=log
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def wait_until_shipped(self, order_ids: Iterable[int]) -> None:
        """Waits until all these orders can be restored from the replica."""
        wanted = set(order_ids)
        copy = self._folder / "copy.db"

        def is_shipped() -> bool:
            copy.unlink(missing_ok=True)
            done = self.run(self._restore.replace("restored.db", "copy.db"))
            return done.returncode == 0 and wanted <= ids_in(copy)

        wait_until(is_shipped)

    def restore(self) -> Path:
        """Restores the replica to a file, which must have no damage."""
        restored = self._folder / "restored.db"
        restored.unlink(missing_ok=True)
        done = self.run(self._restore)
        assert done.returncode == 0, done.stderr
        done = self.run(f".venv/bin/python server.py --database {restored} --check")
        assert (done.returncode, done.stdout) == (0, f"{restored}: no errors found\n")
        return restored

    def use_restored(self) -> subprocess.CompletedProcess[str]:
        return self.run(self._here(self._restore_file))

    def reset(self) -> None:
        assert self.run(self._reset).returncode == 0


def ids_in(path: Path) -> set[int]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return {order_id for (order_id,) in connection.execute("SELECT order_id FROM orders")}


def assert_stored(server: ServerProcess, order_ids: Iterable[int]) -> None:
    with server.client() as client:
        for order_id in order_ids:
            stored = client.ask("GET", f"/order/{order_id}?wait=30").body
            assert has_values_of(stored, order(order_id))
            assert stored["status"] == "Completed"


def test_every_order_that_litestream_has_shipped_is_restored(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    with ServerProcess(setup.path) as server, setup.replicating() as litestream:
        clients = PostingClients(server.port, first_id=1)
        assert clients.enough.wait(DEADLINE_S)
        acknowledged = set(clients.acknowledged)
        setup.wait_until_shipped(acknowledged)
        # Both are killed under load.
        server.kill()
        litestream.kill()
        clients.join()
    assert acknowledged <= ids_in(setup.restore())
    done = setup.use_restored()
    assert (done.returncode, done.stderr) == (0, "")
    shipped = ids_in(setup.path)
    assert acknowledged <= shipped
    setup.reset()
    with ServerProcess(setup.path) as server, setup.replicating():
        assert_stored(server, shipped)
        assert server.get("/metrics").body["total_orders"] == len(shipped)
        # Litestream goes on with the restored database.
        later = range(10**9, 10**9 + 300)
        post_all(server, later)
        assert_all_completed(server, later)
        setup.wait_until_shipped([*shipped, *later])
        assert server.stop() == 0
        # The server has stopped, but Litestream would remove the WAL of a restored database.
        setup.restore()
        done = setup.use_restored()
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(
            rf"server\.py: {setup.path} is in use by another program, process [0-9]+: end it first\n", done.stderr
        )
    with ServerProcess(setup.restore()) as server:
        assert_stored(server, later)
