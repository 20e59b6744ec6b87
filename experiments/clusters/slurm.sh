#!/bin/bash
# A sweep on the GPU nodes of a Slurm cluster. At the top of the repository, after `make install`,
# in a home that all nodes share:
#
#   sbatch --nodes=4 --gpus-per-node=1 experiments/clusters/slurm.sh \
#     experiments/cnn_bayes.yaml --data ~/photos
#
# Whatever stands behind the script's name goes to `python -m inat_ray.sweep`. The job asks for
# whole nodes, so it costs nodes x hours (here at most 4 x 12) whether or not trials fill them. Add
# --partition, --account and the like as your site wants them. A job that ran into its time limit
# goes on with `sbatch ... slurm.sh --resume FOLDER/NAME`. Not run under a real Slurm.
#SBATCH --job-name=inat_ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail
source .venv/bin/activate

export INAT_RAY_STORAGE_PATH=${INAT_RAY_STORAGE_PATH:-$HOME/inat_ray_runs}

# The network is shared with every other user of the site, and Ray runs whatever it is sent by
# whoever has the token: a file in your home, which Ray would leave readable by all. Never on a
# command line, for those are shown to everybody who runs `ps`.
export RAY_AUTH_MODE=token
export RAY_worker_niceness=0  # the nodes are this job's alone
(umask 077 && ray get-auth-token --generate > /dev/null 2>&1)
chmod 700 ~/.ray
chmod 600 ~/.ray/auth_token

# Slurm runs this script on the first node: the head. A folder of this job's own keeps its sockets
# away from another user's; their paths may be 107 characters long, so it is a short one.
address=$(hostname --all-ip-addresses | cut -d' ' -f1):6379
export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID

# Ray waits 30 seconds for all nodes to come, too little on a busy file system.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

# On every node at once: the first starts Ray's head, runs the sweep and stops Ray, which ends the
# others. The dashboard keeps to the head's loopback, Ray's default.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
    env RAY_ADDRESS="$address" python -m inat_ray.sweep "$@"
