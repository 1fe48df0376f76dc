"""The process of a target server, with the faults that signals and limits inject. Its methods may block."""

import resource
import signal

from load.system.server_process import ServerProcess

STOP_S = 60.0
"""A server may wait for a lock of 12 s and a webhook of 3 s before it ends."""


class TargetProcess(ServerProcess):
    """One server process. A fault has no effect before the process is launched and after it has ended."""

    @property
    def exit_status(self) -> int | None:
        """The exit status; None while the process runs, and before it is launched."""
        return self._process.poll() if self._process else None

    @property
    def is_launched(self) -> bool:
        return self._process is not None

    @property
    def is_running(self) -> bool:
        return self.is_launched and self.exit_status is None

    def send_signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    def limit_file_size(self, size: int | None) -> bool:
        """Make writes beyond `size` bytes of a file fail as on a full disk; None removes the limit.

        Return False if the server does not listen: while it starts, the limit would hide in its log where it listens.
        """
        if not self.url.port or not self.is_running:
            return False
        try:
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> int | None:
        """Send SIGKILL and return the exit status; None if the process was never launched."""
        if self._process is None:
            return None
        self._process.kill()
        return self._process.wait()

    def terminate(self) -> int | None:
        """Send SIGTERM and return the exit status; None if the process did not end in time and was killed."""
        self.send_signal(signal.SIGTERM)
        if self._ends_within(STOP_S):
            return self.exit_status
        self.kill()
        return None
