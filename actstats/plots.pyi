# Written by .ci/stubs.py: `make export`
import numpy as np
from .recording import History, Recording
from typing import Any

__all__ = ['STATS', 'depth_colors', 'epoch_marks', 'near_zero', 'at_step', 'update_ratio']

def depth_colors(n: int) -> Any: ...

def epoch_marks(rec: Recording) -> np.ndarray: ...
STATS: tuple[str, ...]

def near_zero(h: History, near: float) -> np.ndarray: ...

def at_step(h: History, step: int | None) -> int: ...

def update_ratio(rec: Recording, name: str) -> tuple: ...
