"""What a guard is fitted to: the original weights of a ledger, of experts those that are met."""

from functools import partial

from torch import Tensor

from revive.guards.fitted import Later
from revive.models.ledger import Ledger


def originals(ledger: Ledger) -> dict[str, Tensor | Later]:
    """By key; experts of a mixture are read when a guard first needs them."""
    return {
        key: ledger.original(key)
        if site.expert is None
        else Later(site.shape, partial(ledger.original, key))
        for key, site in ledger.sites.items()
    }
