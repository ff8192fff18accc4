"""The text that second moments are taken from where nobody names any. No torch.

Passages of The World Factbook, a work of the United States Government and in the public domain;
`recipes/package_text.py` made the file.
"""

import gzip
from importlib.resources import files

PACKAGE = "package"
"""What specs and `--text` call it."""

ABOUT = "about 45,000 tokens of English prose from The World Factbook"
CHARACTERS = 200_000

_FILE = "world_factbook.txt.gz"


def package_passages() -> list[str]:
    """All passages, in an order of which every beginning is a fair sample."""
    content = files("revive.texts").joinpath(_FILE).read_bytes()
    return gzip.decompress(content).decode("utf-8").splitlines()
