#!/bin/bash
#SBATCH --job-name=retrain
#SBATCH --output=%x-%A-%a.log
#SBATCH --array=1-5
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue

# Retrain networks of the run: task n of the array that of line n of retrainings.txt. Submitted again, it resumes.
# A line has the retraining's name, then options of `tinynas retrain`; limits choose a network of the Pareto front.

set -euo pipefail
source ./settings.sh

line=$(sed -n "${SLURM_ARRAY_TASK_ID:?}p" retrainings.txt)
read -r name options <<< "$line"
if [[ -z $name ]]; then
  echo "retrainings.txt has no line $SLURM_ARRAY_TASK_ID; change --array" >&2
  exit 1
fi

if [[ -e $RUN/retrain/$name/checkpoint.pt ]]; then
  tinynas retrain "$RUN" --name "$name" --resume
else
  # shellcheck disable=SC2086 # the options are separate words
  tinynas retrain "$RUN" --name "$name" "${RETRAINING[@]}" $options
fi
