# Written by .ci/stubs.py: `make export`
from .recording import History

__all__ = ['raw_histogram']

def raw_histogram(h: History, i: int) -> dict: ...
