"""Kinds of numbers that settings share."""

from typing import Annotated

from pydantic import Field

# What arrays can count, and what every generator of random numbers takes.
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, le=2**62)]
