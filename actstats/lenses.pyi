# Written by .ci/stubs.py: `make export`
import numpy as np
from .symptoms import Case
from collections.abc import Iterator
from typing import Any

__all__ = ['LARGEST', 'SHARP', 'DEAD', 'ENOUGH', 'LONG', 'LENS_RULES', 'attention_logits', 'attention_collapsed', 'dead_experts', 'effective', 'experts_unbalanced']
LARGEST: float

def attention_logits(c: Case) -> Iterator[Any]: ...
SHARP: float

def attention_collapsed(c: Case) -> Iterator[Any]: ...
DEAD: float
ENOUGH: int
LONG: int

def dead_experts(c: Case) -> Iterator[Any]: ...

def effective(load: np.ndarray) -> np.ndarray: ...

def experts_unbalanced(c: Case) -> Iterator[Any]: ...
LENS_RULES: dict[Any, Any]
