"""From a rule to a `torch.optim.Optimizer`."""
