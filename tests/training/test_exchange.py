import asyncio

from inat_ray.training.exchange import Exchange

SOON = 0.05
"""Seconds that a test waits for what must not come."""


def test_a_worker_gets_the_order_whether_it_came_before_or_after_it_was_given():
    async def meet():
        exchange = Exchange()
        waiting = asyncio.create_task(exchange.take(after=0, rank=0))
        await asyncio.sleep(0)
        number = await exchange.give("first")
        assert await waiting == (number, "first")
        assert await exchange.take(after=0, rank=1) == (number, "first")

    asyncio.run(meet())


def test_a_worker_that_has_carried_out_an_order_waits_for_the_next():
    async def meet():
        exchange = Exchange()
        number = await exchange.give("first")
        waiting = asyncio.create_task(exchange.take(after=number, rank=0))
        await asyncio.sleep(SOON)
        assert not waiting.done()
        await exchange.give("second")
        assert await waiting == (number + 1, "second")

    asyncio.run(meet())


def test_a_worker_in_anothers_place_finds_the_outstanding_order_and_counts_as_an_attempt():
    async def meet():
        exchange = Exchange()
        number = await exchange.give("order")
        for _ in range(2):
            for rank in range(3):
                assert await exchange.take(after=0, rank=rank) == (number, "order")
        assert (await exchange.status(number, seconds=SOON)).attempts == 2

    asyncio.run(meet())


def test_the_driver_is_told_as_soon_as_there_is_an_answer_and_otherwise_that_there_is_none():
    async def meet():
        exchange = Exchange()
        number = await exchange.give("order")
        assert (await exchange.status(number, seconds=SOON)).answer is None
        waiting = asyncio.create_task(exchange.status(number, seconds=60))
        await asyncio.sleep(0)
        await exchange.answer(number, "done")
        assert (await asyncio.wait_for(waiting, timeout=5)).answer == "done"

    asyncio.run(meet())


def test_the_answer_to_an_older_order_is_dropped():
    async def meet():
        exchange = Exchange()
        older = await exchange.give("older")
        newer = await exchange.give("newer")
        await exchange.answer(older, "late")
        assert (await exchange.status(newer, seconds=SOON)).answer is None

    asyncio.run(meet())


def test_of_several_ranks_errors_the_first_is_kept_until_the_next_order():
    async def meet():
        exchange = Exchange()
        number = await exchange.give("order")
        await exchange.note_error("the cause")
        await exchange.note_error("a consequence")
        assert (await exchange.status(number, seconds=SOON)).error == "the cause"
        number = await exchange.give("next")
        status = await exchange.status(number, seconds=SOON)
        assert (status.error, status.attempts) == (None, 0)

    asyncio.run(meet())
