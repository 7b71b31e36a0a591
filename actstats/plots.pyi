# Written by .ci/stubs.py: `make export`
from typing import Any

__all__ = ['STATS', 'depth_colors']

def depth_colors(n: int) -> Any: ...
STATS: tuple[str, ...]
