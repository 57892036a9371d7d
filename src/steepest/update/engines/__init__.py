"""Engines, which run traced rules: their protocol, the choice of one, and one file each, which registers it when imported."""

import importlib
import pkgutil

for _module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
    importlib.import_module(f".{_module}", __name__)
