"""Owns a server that is killed and started again, a process after another; on the event loop's thread.

What waits for a process does so on a thread of its own.
"""

import asyncio
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from load.system.server_process import ServerProcess

START_S = 40.0
# A server may wait for a lock of 12 s, and for a processor of 3 s, before it ends.
STOP_S = 60.0
STOPPED = "T"


class Life(ServerProcess):
    """One process of a server, which can be harmed; what is done to one that has ended has no effect."""

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs, or before it has begun to."""
        return self._process.poll() if self._process else None

    @property
    def is_launched(self) -> bool:
        return self._process is not None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def is_listening(self) -> bool:
        """Whether it has said where it listens, and runs."""
        return self.url.port != 0 and self.is_running

    @property
    def is_stopped(self) -> bool:
        """Whether SIGSTOP has come to it."""
        if not self.is_running:
            return False
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] == STOPPED

    def signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    def limit_file_size(self, size: int | None) -> bool:
        """Have writes beyond `size` bytes of any file fail, as on a full disk, or none; False where it does not listen.

        One that starts could not write to its log where it listens.
        """
        if not self.is_listening:
            return False
        try:
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
        except ProcessLookupError:
            return False
        return True

    def wait(self, limit_s: float) -> int | None:
        """Give the exit status once it has ended; None where it has not in time. Blocks."""
        try:
            return self._launched.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int | None:
        """End it at once and give its exit status; None where it was never launched. Blocks for a moment."""
        if self._process is None:
            return None
        self._process.kill()
        return self._process.wait()


class Victim:
    """A server by its `arguments`, which name its port; each of its lives has a log of its own in `folder`."""

    def __init__(self, arguments: Sequence[str], *, folder: Path, clock_s: Callable[[], float]) -> None:
        self._arguments = arguments
        self._folder = folder
        self._clock_s = clock_s
        self._lives = 0
        self.life: Life = self._new_life()
        """The last one that was launched, or the first one before it is."""

    def launch(self) -> asyncio.Future[Life]:
        """Start the next process; the result comes when it listens, DidNotStart when it ends instead."""
        if self.life.is_launched:
            self.life = self._new_life()
        return asyncio.ensure_future(asyncio.to_thread(self.life.__enter__))

    async def kill(self) -> int | None:
        """Send SIGKILL and give the exit status; None where it was never launched."""
        return await asyncio.to_thread(self.life.kill)

    async def terminate(self) -> int | None:
        """Send SIGTERM and give the exit status; None where it did not end in time, and was killed."""
        life = self.life
        life.signal(signal.SIGTERM)
        status = await asyncio.to_thread(life.wait, STOP_S)
        if status is None:
            await self.kill()
        return status

    def close(self) -> None:
        """Leave no process behind; may be called twice. Blocks for a moment."""
        self.life.kill()

    def _new_life(self) -> Life:
        self._lives += 1
        log = self._folder / f"server-{self._lives}.log"
        return Life(self._arguments, log=log, clock_s=self._clock_s, start_s=START_S, stop_s=1.0)
