"""The store of studies: one SQLite file."""

from .ledger import Store
from .runs import key_of

__all__ = ["Store", "key_of"]
