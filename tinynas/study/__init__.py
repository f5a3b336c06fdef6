"""Which architecture: feasible sampling, samplers, predictor, the Optuna study, subnet evaluation."""
