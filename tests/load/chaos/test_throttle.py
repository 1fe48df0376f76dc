"""How fast clients may send."""

import asyncio
from itertools import count

from load.chaos.throttle import CATCH_UP_S, Throttle


def test_turns_that_are_due_are_not_waited_for_and_the_others_end_with_the_run() -> None:
    async def run() -> list[bool]:
        now_s = [1000.0]
        ending = asyncio.Event()
        throttle = Throttle(per_second=1.0, clock_s=lambda: now_s[0], ending=ending)
        now_s[0] += 3
        turns = [await throttle.turn(3)]
        waiting = asyncio.create_task(throttle.turn(3600))
        await asyncio.sleep(0)
        # That one was due at once, but what comes after it is not.
        turns.append(await waiting)
        waiting = asyncio.create_task(throttle.turn(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        ending.set()
        return [*turns, await waiting]

    assert asyncio.run(run()) == [True, True, False]


def test_what_could_not_be_sent_for_long_is_made_up_for_in_part() -> None:
    async def run() -> int:
        now_s = [0.0]
        ending = asyncio.Event()
        throttle = Throttle(per_second=8.0, clock_s=lambda: now_s[0], ending=ending)
        now_s[0] = 1000.0
        for sent in count():
            turn = asyncio.create_task(throttle.turn(1))
            await asyncio.sleep(0)
            if not turn.done():
                ending.set()
                await turn
                return sent
        return 0

    # The one that is due right now is sent, too.
    assert asyncio.run(run()) == 8 * CATCH_UP_S + 1
