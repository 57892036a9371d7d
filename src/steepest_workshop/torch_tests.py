"""Run PyTorch's own tests of optimizers and schedulers with the classes of steepest in place of torch's.

`python -m steepest_workshop.torch_tests FOLDER` takes the folder `test` of a checkout of PyTorch, runs `test_optim.py` and
`optim/test_*.py` with torch's classes and with ours, and prints the failures that occur only with ours. The exit code is 1 if
such a failure has no reason in `REASONS`, or if there are more than `MOST`. torch's test of error messages stops at the first
difference of many; tests/update/test_optim_db.py tests each message separately.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import torch
from rich import print

from steepest.errors import SteepestError

NEEDED = ("test_optim.py", "optim/test_lrscheduler.py")
MOST, LEAST = 15, 500  # failures; tests
PATCH = "STEEPEST_IN_TORCHS_TESTS"  # set in the process that uses our classes
# Accepted failures: a pattern for the test's name, one for the message, and the reason.
REASONS = (
    (r"\.test_errors_", r'^AssertionError: ".*" does not match ".*', "raises like torch, with our own message"),
    (
        r"\.test_errors_AdamW?_",
        r"^AssertionError: ValueError not raised",
        "accepted: a tensor rate or tensor betas, with foreach or mixed with floats, which only torch's loops cannot run",
    ),
)

if os.environ.get(PATCH):  # pytest then loads this module before torch's tables of optimizers
    from steepest import optim
    from steepest.update.torch_class.signature import by_class_name

    for name, rule in by_class_name().items():
        if rule.twin:
            setattr(torch.optim, name, getattr(optim, name))


def files(folder: Path) -> list[str]:
    """The test files in a folder, relative to it."""
    return ["test_optim.py", *sorted(str(path.relative_to(folder)) for path in (folder / "optim").glob("test_*.py"))]


def reason_of(name: str, said: str) -> str:
    """The reason for a failure with our classes; "" if none applies."""
    return next((why for named, says, why in REASONS if re.search(named, name) and re.search(says, said)), "")


def outcomes(folder: Path, patched: bool) -> dict[str, str]:
    """The first line of each failure's message, by the test's name; under "" the number of tests that ran."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", f"--junitxml={report}"]
        command += ["-p", "steepest_workshop.torch_tests", "--continue-on-collection-errors", *files(folder)]
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env={**os.environ, PATCH: "1" if patched else ""}
        )
        if not report.is_file():
            raise SteepestError(f"pytest wrote no report for {folder}: {(ran.stderr or ran.stdout).strip()[-300:]}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    found[""] = str(len(cases))
    for case in cases:
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        for failed in [*case.iter("failure"), *case.iter("error")]:
            found[name] = failed.get("message", "").partition("\n")[0]
    return found


def main(folder: Path) -> int:
    """Run the tests with both, and print the failures that occur only with ours."""
    for file in NEEDED:
        if not (folder / file).is_file():
            print(f"There is no {file} in {folder}; pass the folder `test` of a checkout of PyTorch.", file=sys.stderr)
            return 2
    theirs, ours = outcomes(folder, False), outcomes(folder, True)
    if theirs[""] != ours[""] or int(ours[""]) < LEAST:
        counts = f"{theirs['']} tests ran with torch's classes and {ours['']} with ours"
        raise SteepestError(f"{counts}; expected equal counts of at least {LEAST}.")
    only = {name: said for name, said in ours.items() if name not in theirs}
    print(
        f"{ours['']} tests; {len(theirs) - 1} fail with torch's classes, {len(ours) - 1} with ours, {len(only)} only with ours"
    )
    without = 0
    for name, said in sorted(only.items()):
        reason = reason_of(name, said)
        without += not reason
        print(f"{name}: {reason or 'NO REASON'}\n    {said[:200]}")
    return int(without > 0 or len(only) > MOST)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1] if len(sys.argv) == 2 else "test")))
    except SteepestError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
