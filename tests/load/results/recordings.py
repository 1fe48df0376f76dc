"""Creates recordings of responses for tests."""

from load.http.connections import RequestTiming
from load.results.counting import Recording

MS = 1_000_000
S = 1_000_000_000


def recording_of(*answers: tuple[int, int], orders: int = 1) -> Recording:
    """Return a recording of responses. Each has the time when it arrived, and its latency, in milliseconds."""
    recording = Recording()
    for answered_ms, latency_ms in answers:
        recording.add(RequestTiming(answered_ms * MS, latency_ms * MS, latency_ms * MS // 2), orders=orders)
    return recording
