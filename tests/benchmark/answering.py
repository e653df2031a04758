"""Measurements that are made up: calls of fresh processes answer in turn."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_ray.benchmark import fresh


def answers(monkeypatch: pytest.MonkeyPatch, *found: Any) -> list[dict[str, Any]]:
    """Let calls answer in turn; returns what they were asked, as they come."""
    asked: list[dict[str, Any]] = []
    left = list(found)

    def call(function: str, **arguments: Any) -> Any:
        asked.append({"function": function, **arguments})
        return left.pop(0)

    monkeypatch.setattr(fresh, "call", call)
    return asked
