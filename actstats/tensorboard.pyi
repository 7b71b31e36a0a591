# Written by .ci/stubs.py: `make export`
from .history import History

__all__ = ['closed_bins', 'raw_histogram']

def closed_bins(h: History, i: int) -> tuple: ...

def raw_histogram(h: History, i: int) -> dict: ...
