"""Loops that no array operation expresses, compiled by numba when they are first called.

The machine code is kept beside the source or, where that cannot be written, in the user's cache folder; where neither
can, each process compiles anew (seconds). Importing numba takes 0.3 s: files of compiled loops are imported by what
calls them, when it does. The interpreter's lock is released within, so that threads share out images.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


def compiled(function: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """The function in machine code: no Python objects inside, and floating point as written (no reordering).

    Args:
        function: of arrays and numbers.
    """
    try:
        kept: Callable[Parameters, Value] = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder takes the machine code
        alone: Callable[Parameters, Value] = numba.njit(nogil=True)(function)
        return alone
    return kept
