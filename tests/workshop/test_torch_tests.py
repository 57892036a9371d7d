"""The run of PyTorch's own tests: every file is run, and only failures with a true reason are excused."""

import pytest

from steepest_workshop import torch_tests

OURS = {
    "test_the_same": "assert torch.optim.SGD([torch.ones(1)], lr=0.1).param_groups[0]['lr'] == 0.1",
    "test_errors_Adam_words": (
        "with self.assertRaisesRegex(ValueError, 'Invalid beta'):\n"
        "            torch.optim.Adam([torch.ones(1)], betas=(1.0, 0.9))"
    ),
}
TAKEN = {
    "test_errors_SGD_taken": (
        "from steepest.update.torch_class.optimizer import RuleOptimizer\n"
        "        with self.assertRaises(ValueError):\n"
        "            issubclass(torch.optim.SGD, RuleOptimizer) or torch.optim.SGD([torch.ones(1)], lr=-1)"
    ),
}


def folder_of(path, tests, others):
    head = "import unittest\nimport torch\nclass TestOptim(unittest.TestCase):\n"
    bodies = [head + "".join(f"    def {k}(self):\n        {v}\n" for k, v in found.items()) for found in (tests, others)]
    (path / "optim").mkdir()
    (path / "test_optim.py").write_text(bodies[0])
    (path / "optim" / "test_lrscheduler.py").write_text(bodies[1])
    (path / "optim" / "test_others.py").write_text(bodies[1].replace("TestOptim", "TestOthers"))
    return path


@pytest.mark.parametrize(("others", "code", "sentence"), [(OURS, 0, "with our own message"), (TAKEN, 1, "NO REASON")])
def test_every_file_is_run_and_what_is_not_refused_is_not_excused_as_other_words(
    others, code, sentence, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(torch_tests, "LEAST", 3)
    assert torch_tests.main(folder_of(tmp_path, OURS, others)) == code
    said = capsys.readouterr().out
    assert sentence in said
    assert "TestOthers.test_errors_" in said  # of a file that is not listed


def test_each_reason_is_true_of_what_it_excuses():
    words = 'AssertionError: "Invalid rho" does not match "adadelta: rho is 1.1; expected a number in [0, 1]."'
    assert torch_tests.reason_of("TestOptim.test_errors_Adadelta_cpu", words)
    assert not torch_tests.reason_of("TestOptim.test_errors_Adadelta_cpu", "AssertionError: ValueError not raised")
    assert "accepted" in torch_tests.reason_of("TestOptim.test_errors_AdamW_cpu", "AssertionError: ValueError not raised")
    assert not torch_tests.reason_of("TestOptim.test_peak_memory", words)
    assert not torch_tests.reason_of("TestLRScheduler.test_cycle_lr_with_adam", "AssertionError: 0.1 != 0.2")
