"""What runs a traced rule: the protocol, the choice, and an engine a file, each of which registers itself when imported."""

import importlib
import pkgutil

for _module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
    importlib.import_module(f".{_module}", __name__)
