"""An experiment on disk: configuration, run folder, log, results, comparison, plots. No torch."""
