"""The run of PyTorch's own tests: every file is run, and only failures with a true reason are excused."""

import functools

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


def test_every_file_is_run_and_what_is_not_refused_is_not_excused_as_other_words(tmp_path, monkeypatch, capsys):
    """Each file is run twice, in processes; then what they found is read again without the failure that has no reason."""
    monkeypatch.setattr(torch_tests, "LEAST", 3)
    outcomes = functools.cache(torch_tests.outcomes)
    monkeypatch.setattr(torch_tests, "outcomes", outcomes)
    folder = folder_of(tmp_path, OURS, OURS | TAKEN)
    assert torch_tests.main(folder) == 1
    said = capsys.readouterr().out
    assert "TestOthers.test_errors_SGD_taken: NO REASON" in said  # of a file that is not named
    assert said.count("NO REASON") == 2

    def excused(folder, patched):
        return {name: words for name, words in outcomes(folder, patched).items() if "taken" not in name}

    monkeypatch.setattr(torch_tests, "outcomes", excused)
    assert torch_tests.main(folder) == 0
    said = capsys.readouterr().out
    assert "TestOthers.test_errors_Adam_words: raises like torch, with our own message" in said
    assert "NO REASON" not in said


def test_each_reason_is_true_of_what_it_excuses():
    words = 'AssertionError: "Invalid rho" does not match "adadelta: rho is 1.1; expected a number in [0, 1]."'
    assert torch_tests.reason_of("TestOptim.test_errors_Adadelta_cpu", words)
    assert not torch_tests.reason_of("TestOptim.test_errors_Adadelta_cpu", "AssertionError: ValueError not raised")
    assert "accepted" in torch_tests.reason_of("TestOptim.test_errors_AdamW_cpu", "AssertionError: ValueError not raised")
    assert not torch_tests.reason_of("TestOptim.test_peak_memory", words)
    assert not torch_tests.reason_of("TestLRScheduler.test_cycle_lr_with_adam", "AssertionError: 0.1 != 0.2")
