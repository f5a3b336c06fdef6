"""How weights are learned: loop, recipe, mixed precision, objectives, distillation, checkpoints."""
