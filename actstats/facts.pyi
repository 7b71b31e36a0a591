# Written by .ci/stubs.py: `make export`
from collections.abc import Iterator
from torch import Tensor, nn
from typing import Any

__all__ = ['MOST_SAMPLES', 'MOST_UNITS', 'words', 'about', 'identical_units', 'device_type', 'output_variance', 'numbers']

def words(m: nn.Module) -> str: ...

def about(modules: dict) -> dict: ...

def identical_units(model: Any) -> list: ...

def device_type(model: Any) -> str: ...
MOST_SAMPLES: int
MOST_UNITS: int

def output_variance(x: Tensor) -> Tensor: ...

def numbers(x: Any) -> Iterator[Any]: ...
