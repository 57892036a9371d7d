"""The pictures of a study, a file each. Every file of this folder is imported, and registers its picture (`registry`)."""

import importlib
import pkgutil

from ...study.data import StudyData
from ..picture import Picture
from ..registry import PICTURES, Registered

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_module.name}", __name__)


def registered() -> list[Registered]:
    """Every picture, in the order of a page."""
    return sorted(PICTURES.values(), key=lambda one: (one.order, one.name))


def pictures_of(study: StudyData) -> dict[str, Picture]:
    """The pictures of a study by name, in the order of a page; those that have something to show."""
    made = {one.name: one(study) for one in registered()}
    return {name: picture for name, picture in made.items() if picture}
