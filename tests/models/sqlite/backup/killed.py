"""The files of a killed server, with a WAL, and a backup."""

from pathlib import Path

from models.sqlite.backup.backup import back_up
from models.sqlite.backup.restore import restore
from tests.models.sqlite.stored_shop import Reports, StoredShop, contents, ignore, orders_in

OLD_FILES = ("orders.db", "orders.db-wal", "orders.db-shm")


class Killed:
    """The files of a killed server on `path`, with a WAL, and a backup with fewer orders, in another folder."""

    def __init__(self, folder: Path) -> None:
        (folder / "shop").mkdir()
        shop = StoredShop(folder / "shop" / "orders.db")
        self.path, self.backup = shop.path, folder / "backup.db"
        back_up(shop.path, self.backup, report=Reports(), progress=ignore)
        self.in_backup = shop.orders()
        shop.insert(5)
        self.latest = shop.orders()
        shop.kill()
        self.files = contents(self.path.parent)
        assert set(self.files) == set(OLD_FILES)

    def restore(self) -> list[str]:
        reports = Reports()
        restore(self.path, self.backup, report=reports, progress=ignore)
        return reports.lines

    def assert_unchanged(self) -> None:
        assert contents(self.path.parent) == self.files

    def assert_restored(self) -> list[Path]:
        """Checks that the database has the orders of the backup, and the old files those after it. Returns them."""
        assert orders_in(self.path) == self.in_backup
        old_files = sorted(self.path.parent.glob("orders.db.old-*"))
        assert [file.read_bytes() for file in old_files] == [
            self.files[name] for name in ("orders.db", "orders.db-shm", "orders.db-wal")
        ]
        assert sorted(each.name for each in self.path.parent.iterdir()) == ["orders.db", *(f.name for f in old_files)]
        return old_files
