"""What waits is answered together."""

import asyncio

from lstm_ray.serving.batcher import IDLE_PASSES, Batcher


def asked(arrivals: list[int], most: int = 100) -> list[list[int]]:
    """The batches in which requests are answered that come after so many passes of the event loop."""
    batches: list[list[int]] = []

    async def work(batch) -> list[int]:
        batches.append(list(batch))
        return [10 * item for item in batch]

    async def run() -> None:
        batcher = Batcher(work, most)

        async def one(number: int, passes: int) -> None:
            for _ in range(passes):
                await asyncio.sleep(0)
            assert await batcher(number) == 10 * number

        await asyncio.gather(*(one(number, passes) for number, passes in enumerate(arrivals)))

    asyncio.run(run())
    return batches


def test_requests_a_few_passes_of_the_loop_apart_are_answered_together():
    assert asked([0, 0, 2, 4, 7]) == [[0, 1, 2, 3, 4]]


def test_nobody_waits_for_those_that_come_late():
    assert asked([0, 5 * IDLE_PASSES]) == [[0], [1]]


def test_a_batch_holds_no_more_than_it_may():
    assert asked([0] * 5, most=2) == [[0, 1], [2, 3], [4]]


def test_whoever_asks_without_end_keeps_nobody_waiting():
    batches = asked(list(range(60)), most=20)
    assert [len(batch) for batch in batches] == [20, 20, 20]


def test_a_wrong_request_fails_alone():
    async def work(batch):
        return [ValueError(item) if item == 1 else item for item in batch]

    async def run() -> list[object]:
        batcher = Batcher(work, 10)
        return await asyncio.gather(*(batcher(item) for item in range(3)), return_exceptions=True)

    first, wrong, last = asyncio.run(run())
    assert (first, last) == (0, 2)
    assert isinstance(wrong, ValueError)


def test_who_gave_up_costs_no_prediction():
    seen = []

    async def work(batch):
        seen.extend(batch)
        return batch

    async def run() -> None:
        batcher = Batcher(work, 10)
        gone = asyncio.create_task(batcher(1))
        stays = asyncio.create_task(batcher(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 2

    asyncio.run(run())
    assert seen == [2]
