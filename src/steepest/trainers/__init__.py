"""Callbacks for trainers that call `step` themselves: `steepest.trainers.lightning` and `steepest.trainers.hugging_face`."""
