# Written by .ci/stubs.py: `make export`
from torch import Tensor
from typing import Any

__all__ = ['Track', 'regroup']

class Track:
    bins: Any
    max_rows: int
    device: Any
    sample: int
    slots: dict[Any, Any]
    span: list[Any]
    latest: list[Any]
    recorders: list[Any]
    width: int
    n: int
    stride: int
    filled: int
    tick: Any
    step: Any
    ticks: int
    first: list[Any]
    last: list[Any]
    now: Tensor
    rows: Tensor
    alive: Tensor
    masks: Tensor
    def __init__(self, bins: Any, max_rows: int, device: Any=None, sample: int=0) -> None: ...
    def add(self, key: Any, units: int) -> int: ...
    def put(self, key: Any, x: Tensor, dim: int | None=None, zeros: int=0) -> None: ...
    def at(self, tick: Any, step: int) -> None: ...
    def is_past(self, tick: Any) -> bool: ...
    def flush(self) -> None: ...
    def put_late(self, tick: Any, step: int, key: Any, x: Tensor, dim: int | None=None, zeros: int=0) -> Any: ...
    def __getstate__(self) -> dict[Any, Any]: ...
    def __setstate__(self, state: Any) -> None: ...
    def read(self, key: Any) -> tuple: ...
    def snapshot(self) -> Track: ...

def regroup(rows: Tensor, masks: Tensor, bins: Any, into: list, n: int) -> tuple: ...
