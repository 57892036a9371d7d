"""What the package offers by name."""

import steepest

PUBLIC = {"Choice", "Problem", "SteepestError", "Study", "compare", "optim", "problems", "rule", "schedules"}


def test_the_package_exports_its_public_names_and_no_others():
    assert set(steepest.__all__) == PUBLIC == set(dir(steepest))
    assert all(getattr(steepest, name) is not None for name in PUBLIC)


def test_optim_exports_a_class_for_every_rule():
    assert dir(steepest.optim) == [
        *("ASGD", "Adagrad", "Adai", "Adam", "AdamW", "LAMB", "MADGRAD", "NAdam", "RAdam", "RMSprop", "Rprop", "SAM", "SGD"),
        *("ScheduleFreeAdamW", "from_rule"),
    ]
    assert steepest.optim.Adam is steepest.optim.Adam


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(steepest, "nonsense")
    assert not hasattr(steepest.optim, "Adma")
