"""Numbers in sentences."""


def counted(number: int, thing: str) -> str:
    """`1 edit`, `2,000 edits`, `3 batches`."""
    several = thing + ("es" if thing.endswith("ch") else "s")
    return f"{number:,} {thing if number == 1 else several}"
