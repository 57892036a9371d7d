"""One step: a traced rule and the tensors it updates, and the engines that do it."""
