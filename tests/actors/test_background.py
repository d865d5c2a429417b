"""Coroutines beside their owner: their failures are told, and stopping ends them."""

import asyncio

from actors.background import Background


def test_a_failure_is_told_and_an_end_is_not():
    async def play():
        failures = []
        background = Background(failures.append)

        async def fail():
            raise KeyError("a bug")

        background.spawn(asyncio.sleep(0))
        background.spawn(fail())
        await asyncio.sleep(0.05)
        assert [repr(failure) for failure in failures] == ["KeyError('a bug')"]
        await background.stop()

    asyncio.run(play())


def test_stopping_waits_until_all_have_cleaned_up():
    async def play():
        ended, failures = [], []
        background = Background(failures.append)

        async def work(name):
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0.02)
                ended.append(name)

        for name in "ab":
            background.spawn(work(name))
        await asyncio.sleep(0)
        await background.stop()
        assert (sorted(ended), failures) == (["a", "b"], [])
        await background.stop()

    asyncio.run(play())
