#!/bin/bash
#SBATCH --job-name=supernet
#SBATCH --output=%x-%j.log
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue

# Train the supernet on the GPUs of a node, data-parallel. Submitted again, it resumes.
# A search of a single network ends as soon as the supernet is trained; the workers continue its study.

set -euo pipefail
source ./settings.sh

resume=()
if [[ -e $RUN/config.yaml ]]; then
  resume=(--resume)
fi

torchrun --standalone --nproc-per-node="${SLURM_GPUS_ON_NODE:-1}" -m -- tinynas.cli search \
  --run "$RUN" "${SUPERNET[@]}" "${SEARCH[@]}" --trials 1 --storage "$STORAGE" "${resume[@]}"
