"""The shipped tables equal scikit-learn's, and are loaded without importing it."""

import subprocess
import sys

import pytest
from sklearn import datasets

from steepest.problems.built_in import tables


def same_bits(read, loaded):
    return read.dtype == loaded.dtype and read.shape == loaded.shape and read.tobytes() == loaded.tobytes()


@pytest.mark.parametrize(
    ("read", "load"), [(tables.digits, datasets.load_digits), (tables.tumours, datasets.load_breast_cancer)]
)
def test_a_table_is_scikit_learns_bit_for_bit(read, load):
    loaded = load()
    ours = read()
    assert same_bits(ours[0], loaded.data)
    assert same_bits(ours[1], loaded.target)


def test_the_names_of_the_features_are_scikit_learns():
    assert datasets.load_breast_cancer().feature_names.tolist() == tables.FEATURES


def test_built_in_problems_leave_scikit_learn_alone():
    code = "import sys; from steepest import problems; problems.get('digits'); problems.get('breast-cancer')"
    lines = f"{code}\nsys.exit('imported' if {{'sklearn', 'pandas'}} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
