"""What a minute of a soak says of what was seen in it."""

from load.soak.minute import HEADER, Book, Minute
from tests.load.soak.samples import MIB, SAMPLE


def _close(book: Book) -> Minute:
    return book.close("7", seconds=60.0, orders=61_000, orders_before=1_000, backlog=2, late_ns=[500_000], cpu_s=30.0)


def test_a_minute_has_the_highest_of_its_samples_and_the_median_of_its_files() -> None:
    book = Book()
    for files, memory_mib in ((18, 50), (19, 55), (18, 52)):
        book.note_sample(SAMPLE._replace(files=files, memory_bytes=memory_mib * MIB))
    for latency_ms in range(1, 101):
        book.note_latency(latency_ms * 1_000_000)
    for latency_ms in range(1, 201):
        book.note_sync(latency_ms * 1_000_000)
    book.errors["why"] += 1
    minute = _close(book)
    assert (minute.files, minute.memory_mib, minute.peak_mib, minute.wal_mib) == (18, 55.0, 60.0, 4.0)
    assert minute.cpu_share == 0.5
    assert (minute.p50_ms, minute.p99_ms, minute.late_p99_ms, minute.disk_p99_ms) == (50.0, 99.0, 0.5, 198.0)
    assert (minute.orders, minute.orders_per_second, minute.backlog, minute.errors) == (61_000, 1_000.0, 2, 1)
    assert len(minute.line) == len(HEADER)


def test_a_minute_without_an_answer_has_no_latency() -> None:
    book = Book()
    book.note_sample(SAMPLE)
    assert _close(book).p99_ms is None
    assert " - " in _close(book).line
