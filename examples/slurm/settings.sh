# Settings of the jobs: edit this file and retrainings.txt in a copy of this folder, and submit the scripts from there.
# The folder must be on a file system that all nodes share.

RUN=$PWD/runs/mcu # the run folder

# How the supernet is trained, see `tinynas search --help`.
SUPERNET=(--space mcu --data "imagefolder:$PWD/images" --epochs 60 --batch-size 256)

# What is searched for: limits, and what else all workers must agree on.
SEARCH=(--sram 256KB --flash 1MB --pareto)
TRIALS=2000

# Database of the study. Its password belongs in ~/.pgpass or PGPASSWORD, not in the URL.
STORAGE=postgresql://tinynas@dbhost/tinynas

# Port of a storage proxy between the workers and the database, for hundreds of workers. Empty: no proxy.
PROXY_PORT=

# Training of every network of retrainings.txt, see `tinynas retrain --help`.
RETRAINING=(--epochs 120 --batch-size 128)
