"""What the package offers by name."""

import steepest
from steepest import rules

PUBLIC = {
    "Choice",
    "Problem",
    "SteepestError",
    "Study",
    "compare",
    "optim",
    "problems",
    "reproduce",
    "rule",
    "schedules",
    "trajectory",
}


def test_the_package_exports_its_public_names_and_no_others():
    assert set(steepest.__all__) == PUBLIC == set(dir(steepest))
    assert all(getattr(steepest, name) is not None for name in PUBLIC)


def test_optim_exports_a_class_for_every_rule_under_its_public_name():
    promised = {"SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Rprop", "Adagrad", "ASGD"}
    promised |= {"MADGRAD", "ScheduleFreeAdamW", "LAMB", "SAM", "Adai"}
    assert set(dir(steepest.optim)) == {r.class_name for r in rules.RULES.values()} | {"from_rule", "groups"}
    assert promised <= set(dir(steepest.optim))
    assert steepest.optim.Adam is steepest.optim.Adam


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(steepest, "nonsense")
    assert not hasattr(steepest.optim, "Adma")
