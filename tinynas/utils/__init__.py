"""What knows nothing of networks: errors, units, files, schema checks, random generators, Pareto fronts."""
