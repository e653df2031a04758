from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import ray

from lstm_ray.errors import InputError
from lstm_ray.on_ray import pool as module
from lstm_ray.on_ray import resources
from lstm_ray.on_ray.pool import ATTEMPTS, WAITING, Pool, actor_pool
from lstm_ray.serving.bundle import pack
from tests import made


def double(policy, world, number, folder, seconds=0.0):
    """Leaves a mark for each time it begins."""
    open(f"{folder}/{number}.{time.monotonic_ns()}", "w").close()
    time.sleep(seconds)
    return 2 * number, os.getpid()


def begun(folder) -> list[int]:
    return sorted(int(file.name.split(".")[0]) for file in folder.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, policy):
    where = tmp_path_factory.mktemp("policy")
    policy.save(where)
    return where


@pytest.fixture(scope="module")
def pool(local_ray, folder):
    with actor_pool(folder, "the world", 2, cpus=0.1) as found:
        yield found


def test_every_task_is_answered_once_with_the_policy_and_the_world(pool, policy):
    def told(policy, world, number):
        return number, world, policy.num_parameters

    answers = dict(pool.each(told, [(number,) for number in range(9)]))
    assert answers == {number: (number, "the world", policy.num_parameters) for number in range(9)}
    assert list(pool.each(told, [])) == []


def test_whoever_is_slow_to_take_answers_holds_the_actors_back(pool, tmp_path):
    answers = pool.each(double, [(number, tmp_path) for number in range(30)])
    next(answers)
    most = WAITING * 2
    deadline = time.monotonic() + 20
    while len(begun(tmp_path)) < most and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert len(begun(tmp_path)) <= most + 1, "the one taken, and what two actors may have at a time"
    assert len(list(answers)) == 29
    assert begun(tmp_path) == list(range(30))


def test_actors_whose_processes_are_killed_are_replaced_and_no_task_is_lost_or_doubled(pool, tmp_path):
    answers, killed = [], set()
    for number, (answer, pid) in pool.each(double, [(number, tmp_path, 0.02) for number in range(40)]):
        answers.append((number, answer))
        if number in (5, 25):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    assert len(killed) == 2
    assert sorted(answers) == [(number, 2 * number) for number in range(40)]
    assert len(begun(tmp_path)) <= 40 + 2 * WAITING, "what was answered is not done again"


def test_a_task_that_always_kills_its_actor_ends_in_one_clear_error(pool, tmp_path):
    def deadly(policy, world, number):
        if number == 4:
            double(policy, world, number, tmp_path)
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    answers = []
    with pytest.raises(InputError, match=f"task 5 of 12 was lost {ATTEMPTS} times.*; lower plan.paths") as caught:
        answers.extend(pool.each(deadly, [(number,) for number in range(12)]))
    assert "\n" not in str(caught.value)
    assert begun(tmp_path) == [4] * ATTEMPTS
    numbers = [number for number, _ in answers]
    assert 4 not in numbers
    assert len(set(numbers)) == len(numbers)


def test_what_the_function_finds_wrong_reaches_the_user_as_it_was_said(pool):
    def wrong(policy, world, error):
        raise error

    for error, kind, words in (
        (InputError("plan.paths: 3 is wrong; set 4"), InputError, "^plan.paths: 3 is wrong; set 4$"),
        (OSError(28, "No space left on device"), OSError, "No space left"),
        (MemoryError("Unable to allocate 9 TiB"), InputError, "no memory.*9 TiB.*lower plan.paths"),
        (ZeroDivisionError("own"), ray.exceptions.RayTaskError, "own"),
    ):
        with pytest.raises(kind, match=words):
            list(pool.each(wrong, [(error,)] * 3))
    assert dict(pool.each(lambda policy, world, number: number, [(7,)])) == {0: 7}, "the pool works on after an error"


def test_long_tasks_are_spread_over_actors_also_where_some_are_up_later(local_ray, folder, tmp_path):
    with actor_pool(folder, None, 2, cpus=0.1) as pool:
        found = [pid for _, (_, pid) in pool.each(double, [(number, tmp_path, 3.0) for number in range(2)])]
    assert len(set(found)) == 2


def test_at_most_as_many_actors_as_cpus_are_asked_for(local_ray, folder, tmp_path):
    total = int(ray.cluster_resources()["CPU"])
    with actor_pool(folder, None, total + 5) as pool:
        assert len(pool.members) == total
        assert len(dict(pool.each(double, [(number, tmp_path) for number in range(6)]))) == 6


def test_a_cluster_of_half_a_cpu_holds_one_actor(local_ray, folder, tmp_path, monkeypatch):
    (node,) = resources.nodes()
    monkeypatch.setattr(resources, "nodes", lambda: [replace(node, offers={**node.offers, "CPU": 0.5})])
    with actor_pool(folder, None, 4) as pool:
        (member,) = pool._starting.values()
        assert member.cpus == 0.5
        assert len(dict(pool.each(double, [(number, tmp_path) for number in range(3)]))) == 3


def test_where_others_hold_every_cpu_an_actor_works_beside_them_and_says_so(
    local_ray, folder, tmp_path, monkeypatch, capsys
):
    @ray.remote(num_cpus=ray.cluster_resources()["CPU"] - 0.5)
    class Holder:
        def ready(self) -> bool:
            return True

    holder = Holder.remote()
    assert ray.get(holder.ready.remote())
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
    with actor_pool(folder, None, 2) as pool:
        tasks = pool.each(double, [(number, tmp_path) for number in range(30)])
        _, (_, first) = next(tasks)
        assert "no actor came up in 0.5 s, maybe for want of a free CPU" in capsys.readouterr().err
        ray.kill(holder)
        deadline = time.monotonic() + 30
        while len(pool._up) < 2 and time.monotonic() < deadline:
            list(tasks)
            tasks = pool.each(double, [(number, tmp_path) for number in range(30)])
        assert len(pool._up) == 2, "others join where their CPUs come free"
        os.kill(first, signal.SIGKILL)
        assert len(list(tasks)) == 30


def test_actors_that_never_come_up_end_in_one_clear_error(local_ray):
    class Broken:
        def __init__(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def is_up(self):
            return True

    remote = ray.remote(max_restarts=0)(Broken)
    pool = Pool("1", lambda cpus: remote.options(num_cpus=cpus).remote(), 1, 0.1)
    with pytest.raises(InputError, match=f"each actor .* was lost {ATTEMPTS} times"):
        list(pool.each(double, [(0, "")]))
    pool.end()


def test_the_actors_read_the_policys_files_from_the_driver_alone(local_ray, tmp_path, policy):
    policy.save(tmp_path / "elsewhere")
    with actor_pool(tmp_path / "elsewhere", None, 1, cpus=0.1) as pool:
        for file in (tmp_path / "elsewhere").iterdir():
            file.unlink()
        weights = {0: {name: value.numpy() for name, value in policy.network.state_dict().items()}}
        found = dict(pool.each(_weights, [()]))
        assert pool.version == policy.save(tmp_path / "again")
    for name, value in weights[0].items():
        np.testing.assert_array_equal(found[0][name], value)


def _weights(policy, world):
    return {name: value.numpy() for name, value in policy.network.state_dict().items()}


def test_a_policy_that_was_altered_is_no_reason_to_wait(local_ray, tmp_path, policy):
    policy.save(tmp_path)
    files = {**pack(tmp_path), "weights.safetensors": b"nothing"}
    words = r"no actor can hold the policy: .*was altered after it was saved"
    with actor_pool(files, made.segments_of(), 1, cpus=0.1) as pool, pytest.raises(InputError, match=words):
        list(pool.each(_weights, [()]))
