# Written by .ci/stubs.py: `make export`
from .recording import Recording
from typing import Any

__all__ = ['Reduction']

class Reduction:
    rec: Recording
    every: int
    timeout: float
    rank: Any
    world: Any
    shared: Any
    tick: Any
    next: int
    number: Any
    sent: dict[Any, Any]
    anew: bool
    queue: list[Any]
    news: Any
    ended: bool
    group: Any
    thread: Any
    awaited: Any
    total: dict[Any, Any]
    plan: Any
    noted: Any
    began: tuple[int, Any]
    done: Any
    held: dict[Any, Any]
    schema: tuple[Any, int, bytes]
    differ: list[Any]
    asked: bool
    looks: dict[Any, Any]
    levels: list[Any]
    level: float
    def __init__(self, rec: Recording, every: int, timeout: float) -> None: ...
    def __reduce__(self) -> tuple[Any, tuple[()]]: ...
    def __call__(self, begins: Any) -> None: ...
    def should_stop(self, above: float) -> bool: ...
