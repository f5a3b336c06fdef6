#!/bin/bash
#SBATCH --job-name=workers
#SBATCH --output=%x-%j.log
#SBATCH --ntasks=16
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue

# Search the trained supernet: every task is a worker. Submitted again, also beside others, it continues the search.

set -euo pipefail
source ./settings.sh

if [[ -n $PROXY_PORT ]]; then
  tinynas storage-proxy --storage "$STORAGE" --host 0.0.0.0 --port "$PROXY_PORT" &
  trap "kill $!" EXIT
  STORAGE=grpc://$(hostname):$PROXY_PORT
fi

export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # newer versions of srun do not take it from the job
srun --label --kill-on-bad-exit=0 tinynas search --run "$RUN" "${SEARCH[@]}" --trials "$TRIALS" --storage "$STORAGE"
