"""The switch over made-up applications: who answers, who gets copies, and when an old one is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from lstm_ray.monitor.traffic import Compared
from lstm_ray.registry.lineup import Lineup
from lstm_ray.serving.gate import App, Receive, Scope, Send
from lstm_ray.serving.switching.lane import Lane
from lstm_ray.serving.switching.switch import Switch

OLD, NEW, THIRD = ("a" * 64, "b" * 64, "c" * 64)


class Policy:
    """An application that answers with its version, once it is let."""

    def __init__(self, version: str, status: int = 200) -> None:
        self.version, self.status, self.open = version, status, 0
        self.bodies: list[bytes] = []
        self.compared = Compared()
        self.let = asyncio.Event()
        self.let.set()

    @property
    def app(self) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert self.open, f"{self.version} was asked after it was closed, or before it was opened"
            self.bodies.append((await receive())["body"])
            await asyncio.sleep(0)
            await self.let.wait()
            assert self.open
            await send({"type": "http.response.start", "status": self.status, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps({"policy": self.version}).encode()})

        return app

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        self.open += 1
        yield
        self.open -= 1

    def lane(self) -> Lane:
        def compare(champion: bytes, own: bytes) -> Compared:
            return Compared(num_values=1, difference=float(champion != own))

        return Lane(self.version, self.app, self.living(), compare, self.compared.add)


class Server:
    def __init__(self, *policies: Policy) -> None:
        self.policies = {policy.version: policy for policy in policies}
        self.switch = Switch(self._stop)
        self.stopped = False
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.switch), base_url="http://here")

    async def _stop(self) -> None:
        self.stopped = True

    async def turn(self, **lineup: Any) -> None:
        wanted = Lineup(sequence=1, **lineup)
        for version in wanted.versions:
            if version not in self.switch.lanes:
                await self.switch.add(self.policies[version].lane())
        self.switch.turn(wanted)

    async def ask(self, path: str = "/v1/forecast", body: bytes = b"{}", **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, content=body, headers=sent)

    async def versions(self, number: int, path: str = "/v1/forecast", **headers: str) -> list[str]:
        answers = [await self.ask(path, **headers) for _ in range(number)]
        assert all(answer.headers["x-policy-version"] == answer.json()["policy"] for answer in answers)
        return [answer.json()["policy"] for answer in answers]


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 10))  # type: ignore[arg-type]


def test_a_request_that_has_begun_ends_with_the_policy_it_began_with_which_is_closed_only_then() -> None:
    async def work() -> None:
        old, new = Policy(OLD), Policy(NEW)
        server = Server(old, new)
        await server.turn(champion=OLD)
        old.let.clear()
        begun = asyncio.create_task(server.ask())
        while not old.bodies:
            await asyncio.sleep(0)
        await server.turn(champion=NEW)
        assert await server.versions(5) == [NEW] * 5
        assert old.open, "a request is still with it"
        old.let.set()
        assert (await begun).json() == {"policy": OLD}
        await asyncio.sleep(0.01)
        assert not old.open

    run(work)


def test_under_load_every_request_gets_one_whole_answer_whatever_is_turned_meanwhile() -> None:
    async def work() -> None:
        server = Server(*map(Policy, (OLD, NEW, THIRD)))
        await server.turn(champion=OLD)
        ended = False
        seen = []

        async def client() -> None:
            while not ended:
                answer = await server.ask()
                assert answer.status_code == 200
                assert answer.headers["x-policy-version"] == answer.json()["policy"]
                seen.append(answer.json()["policy"])

        clients = [asyncio.create_task(client()) for _ in range(8)]
        for turn in range(30):
            champion, beside = (OLD, NEW) if turn % 2 else (NEW, THIRD)
            await server.turn(champion=champion, canary=beside, share=0.3)
            await asyncio.sleep(0.005)
        ended = True
        await asyncio.gather(*clients)
        assert len(seen) > 200
        assert set(seen) == {OLD, NEW, THIRD}

    run(work)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_canary_gets_its_share_to_within_two_requests(share: float) -> None:
    async def work() -> None:
        server = Server(Policy(OLD), Policy(NEW))
        await server.turn(champion=OLD, canary=NEW, share=share)
        assert abs((await server.versions(200)).count(NEW) - 200 * share) <= 2

    run(work)


def test_requests_with_an_id_are_dealt_by_it_and_a_repeated_one_gets_the_same_policy() -> None:
    async def work() -> None:
        server = Server(Policy(OLD), Policy(NEW))
        await server.turn(champion=OLD, canary=NEW, share=0.25)
        dealt = [(await server.versions(1, x_request_id=f"id-{number}"))[0] for number in range(400)]
        # Five deviations of a binomial count.
        assert abs(dealt.count(NEW) - 100) < 5 * (400 * 0.25 * 0.75) ** 0.5
        assert [(await server.versions(1, x_request_id=f"id-{n}"))[0] for n in range(50)] == dealt[:50]

    run(work)


def test_pages_probes_and_observations_are_the_champions() -> None:
    async def work() -> None:
        server = Server(Policy(OLD), Policy(NEW))
        await server.turn(champion=OLD, canary=NEW, share=1.0)
        for path in ("/", "/readyz", "/v1/policy", "/v1/monitor", "/v1/observations"):
            assert await server.versions(3, path) == [OLD] * 3

    run(work)


def test_a_header_chooses_the_policy_and_one_that_is_not_there_is_refused_with_those_that_are() -> None:
    async def work() -> None:
        server = Server(*map(Policy, (OLD, NEW, THIRD)))
        await server.turn(champion=OLD, canary=NEW, share=0.0, shadow=THIRD)
        for choice, version in {"champion": OLD, "canary": NEW, NEW[:8]: NEW, OLD: OLD}.items():
            assert await server.versions(2, "/v1/policy", x_policy=choice) == [version] * 2
        for choice in ("shadow", THIRD[:12], "d" * 12, "", "bb"):
            refused = await server.ask(x_policy=choice)
            assert refused.status_code == 422
            [item] = refused.json()["detail"]
            assert item["loc"] == ["header", "x-policy"]
            assert f"champion ({OLD[:12]}), canary ({NEW[:12]})" in item["msg"]

    run(work)


def test_a_shadow_gets_copies_after_the_answer_and_its_own_answers_are_compared_and_never_sent() -> None:
    async def work() -> None:
        old, new = Policy(OLD), Policy(NEW)
        server = Server(old, new)
        await server.turn(champion=OLD, shadow=NEW)
        new.let.clear()
        for number in range(10):
            answer = await server.ask(body=b"%d" % number)
            assert answer.json() == {"policy": OLD}
        assert await server.versions(3, "/v1/what-if") == [OLD] * 3
        new.let.set()
        while new.compared.num_requests < 10:
            await asyncio.sleep(0.001)
        assert new.bodies == [b"%d" % number for number in range(10)], (
            "each once, in order; what-if is none of its business"
        )
        summary = new.compared.summary()
        assert (summary["requests"], summary["failed"], summary["dropped"]) == (10, 0, 0)
        assert summary["mean_difference_deviations"] == 1.0
        assert summary["mean_ms"] > 0  # type: ignore[operator]
        assert summary["champion_mean_ms"] > 0  # type: ignore[operator]

    run(work)


def test_a_shadow_that_hangs_or_fails_costs_the_champion_nothing_and_is_counted() -> None:
    async def work() -> None:
        old, slow, bad = Policy(OLD), Policy(NEW), Policy(THIRD, status=500)
        server = Server(old, slow, bad)
        await server.turn(champion=OLD, shadow=NEW)
        slow.let.clear()
        assert await server.versions(200) == [OLD] * 200
        assert slow.compared.num_dropped >= 100
        await server.turn(champion=OLD, shadow=THIRD)
        await asyncio.sleep(0.01)
        assert not slow.open, "what waited for it is dropped with it"
        assert await server.versions(5) == [OLD] * 5
        await asyncio.sleep(0.01)
        assert bad.compared.num_failed == 5

    run(work)


def test_truth_and_predictions_of_a_canary_are_not_copied() -> None:
    async def work() -> None:
        old, new, third = map(Policy, (OLD, NEW, THIRD))
        server = Server(old, new, third)
        await server.turn(champion=OLD, canary=NEW, share=0.0, shadow=THIRD)
        await server.ask(body=b"asked")
        await server.ask("/v1/observations", body=b"truth")
        await asyncio.sleep(0.01)
        assert (old.bodies, new.bodies, third.bodies) == ([b"asked", b"truth"], [], [b"asked"])
        assert (new.compared.num_requests, third.compared.num_requests) == (0, 1)

    run(work)


def test_the_servers_end_closes_every_policy_after_its_last_request() -> None:
    async def work() -> None:
        old, new = Policy(OLD), Policy(NEW)
        server = Server(old, new)
        await server.turn(champion=OLD, canary=NEW, share=0.5)
        sent, told = asyncio.Queue[Any](), asyncio.Queue[Any]()
        living = asyncio.create_task(server.switch({"type": "lifespan"}, sent.get, told.put))
        await sent.put({"type": "lifespan.startup"})
        assert (await told.get())["type"] == "lifespan.startup.complete"
        old.let.clear()
        begun = asyncio.create_task(server.ask(x_policy="champion"))
        await asyncio.sleep(0.01)
        await sent.put({"type": "lifespan.shutdown"})
        await asyncio.sleep(0.01)
        assert old.open
        old.let.set()
        assert (await begun).status_code == 200
        assert (await told.get())["type"] == "lifespan.shutdown.complete"
        await living
        assert server.stopped
        assert not old.open
        assert not new.open

    run(work)


def test_an_answer_that_tells_another_policy_than_its_lane_keeps_its_word() -> None:
    async def work() -> None:
        server = Server(Policy(OLD))

        async def streams(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"x-policy-version", NEW.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"{}"})

        await server.turn(champion=OLD)
        server.switch.champion.app = streams
        answer = await server.ask("/v1/streams/one/forecast")
        assert answer.headers.get_list("x-policy-version") == [NEW]

    asyncio.run(work())
