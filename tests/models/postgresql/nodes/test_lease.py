"""When a server may take over the orders of others."""

from models.postgresql.nodes.lease import Lease


class Time:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def renewed(lease: Lease, time: Time, *, every_s: float, times: int) -> None:
    for _ in range(times):
        time.now_s += every_s
        lease.note_renewal()


def test_a_server_takes_over_others_only_after_it_has_lived_for_a_lease() -> None:
    time = Time()
    lease = Lease(lease_s=5, clock=time)
    renewed(lease, time, every_s=1, times=4)
    assert lease.expiry_s is None
    renewed(lease, time, every_s=1, times=1)
    assert lease.expiry_s == 5


def test_a_server_that_was_cut_off_from_the_database_waits_again() -> None:
    time = Time()
    lease = Lease(lease_s=5, clock=time)
    renewed(lease, time, every_s=1, times=60)
    assert lease.expiry_s == 5
    for outage_s in (6, 3):
        renewed(lease, time, every_s=outage_s, times=1)
        assert lease.expiry_s is None
        renewed(lease, time, every_s=1, times=5)
        assert lease.expiry_s == 5


def test_a_server_takes_over_no_other_before_it_has_renewed_its_own_lease_after_an_outage() -> None:
    time = Time()
    lease = Lease(lease_s=5, clock=time)
    renewed(lease, time, every_s=1, times=60)
    # An outage can begin after the renewal, before the server reads which leases have expired.
    time.now_s += 6
    assert lease.expiry_s is None


def test_the_age_of_the_last_renewal_is_known() -> None:
    time = Time()
    lease = Lease(lease_s=5, clock=time)
    renewed(lease, time, every_s=1, times=1)
    time.now_s += 3
    assert lease.renewed_before_s == 3
    assert not lease.is_registered
