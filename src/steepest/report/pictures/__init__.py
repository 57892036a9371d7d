"""The pictures of a study, one file each. Every file in this folder is imported and registers its picture (`registry`)."""

import importlib
import pkgutil

from ...study.data import StudyData
from ..picture import Picture
from ..registry import PICTURES, Registered

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_module.name}", __name__)


def registered() -> list[Registered]:
    """All pictures, in page order."""
    return sorted(PICTURES.values(), key=lambda one: (one.order, one.name))


def pictures_of(study: StudyData) -> dict[str, Picture]:
    """The pictures for which a study has data, by name and in page order."""
    made = {one.name: one(study) for one in registered()}
    return {name: picture for name, picture in made.items() if picture}
