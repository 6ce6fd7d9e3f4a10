#!/bin/bash
# Pretraining under Slurm on two machines of eight GPUs, queued again until it is over:
#
#     sbatch examples/slurm.sh
#
# One process a GPU, started by srun; sassl knows its rank by srun's environment. Change what is in capitals.
#SBATCH --job-name=pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=4:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# To all processes of srun, three minutes before the end; with B: before USR1 it would reach this script alone.
#SBATCH --signal=USR1@180

DATA=${DATA:-photos}
OUT=${OUT:-run}

# The same command begins the run and goes on with it. Its limit is reached before Slurm's signal, which is for what takes long.
srun sassl pretrain simclr-100 --data "$DATA" --out "$OUT" --engine torch --resume \
    --checkpoint-every 2000 --time-limit 3:50:00 --log tensorboard
code=$?

# 75: the run ended with a checkpoint because its time was over. Anything else is its end, or an error to look at.
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
