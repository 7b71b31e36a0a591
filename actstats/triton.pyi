# Written by .ci/stubs.py: `make export`
from torch import Tensor
from typing import Any

__all__ = ['Recorder']

class Recorder:
    row: Tensor
    alive: Any
    bins: Any
    sample: int
    reference: Any
    like: Any
    open: Tensor
    parts: Any
    row_f: Any
    hist: Any
    edges: Any
    steps: Any
    keys: Any
    def __init__(self, row: Tensor, alive: Tensor, bins: Any, sample: int=0) -> None: ...
    def __call__(self, x: Tensor, dim: int) -> Any: ...
    def capture(self, x: Tensor, dim: int, gate: Tensor) -> None: ...
