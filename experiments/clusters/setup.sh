#!/usr/bin/env bash
# Makes a machine a node: bash setup.sh STORAGE, once on each, by the cluster files of this folder.
# STORAGE is where every run keeps its log, checkpoints and results: s3://..., gs://..., or a folder
# that all nodes share. May be repeated; a node on which nothing has changed is ready in a second.
set -euo pipefail

refuse() {
    echo "setup.sh: $*" >&2
    exit 2
}

storage=${1:-}
token=~/.ray/auth_token
project=~/inat_ray
uv=$(type -P uv || echo ~/.local/bin/uv)

# Before anything is installed: what people forget.
case $storage in
    "") refuse "say where runs are kept: s3://BUCKET/inat_ray, gs://... or a folder" ;;
    *YOUR-*) refuse "$storage is a placeholder; put your own in at the top of the cluster file" ;;
    *://*) ;;
    /*) [[ -w $storage ]] || mkdir -p "$storage" || refuse "$storage cannot be written to" ;;
    *) refuse "$storage is neither s3://..., gs://... nor a folder's path from the root" ;;
esac
[[ -s $token ]] || refuse "$token is missing; on your machine: ray get-auth-token --generate"

# Whoever reads the token may run code on the cluster. Ray itself writes it readable by all.
chmod 700 ~/.ray
chmod 600 "$token"

# One at a time, for nodes may share a home.
cd "$project"
exec 9> .setup.lock
flock 9

if [[ ! -x $uv ]]; then
    # Debian and Ubuntu guard their own Python; --user leaves theirs as it is.
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
fi
if [[ ! -x .venv/bin/python ]]; then
    # uv takes a Python 3.11 that is there, or brings one; without a network any newer one will do.
    "$uv" venv --quiet --python 3.11 || "$uv" venv --quiet --python '>=3.11'
fi

# requirements.txt pins everything, Ray to the digit: it must be the one on your machine. It holds
# setuptools too, so installing the project needs nothing more.
wanted=$(cat requirements.txt pyproject.toml | sha256sum)
if [[ $(cat .venv/installed 2> /dev/null) != "$wanted" ]]; then
    "$uv" pip install --quiet --python .venv/bin/python --requirement requirements.txt
    "$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
    echo "$wanted" > .venv/installed
fi

# For every later shell: Ray's start commands, and so its jobs and workers; `ray exec`, `ray
# attach`. With RAY_ADDRESS a sweep on the head joins this cluster, or fails where there is none,
# and never starts a Ray of its own; Ray puts ray_bootstrap_config.yaml on the head alone.
cat > environment.sh << END
export PATH=~/.local/bin:\$PATH
source ~/inat_ray/.venv/bin/activate
export RAY_AUTH_MODE=token
export RAY_worker_niceness=0  # as without Ray; resources.niceness raises it
export INAT_RAY_STORAGE_PATH=$(printf %q "$storage")
[[ ! -e ~/ray_bootstrap_config.yaml ]] || export RAY_ADDRESS=auto
END

# Trials that share a GPU compute at once under NVIDIA's multi-process service; otherwise they take
# turns. The folder keeps it to this user's processes. Without the service they run all the same.
if nvidia-smi > /dev/null 2>&1 && type -P nvidia-cuda-mps-control > /dev/null; then
    export CUDA_MPS_PIPE_DIRECTORY=/tmp/inat_ray-mps-$UID
    export CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
    mkdir -p -m 700 "$CUDA_MPS_PIPE_DIRECTORY"
    echo "export CUDA_MPS_PIPE_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY" >> environment.sh
    # It fails where it is running already. It must not inherit the lock.
    nvidia-cuda-mps-control -d 9>&- < /dev/null > /dev/null 2>&1 || true
fi
line='source ~/inat_ray/environment.sh'
grep -qsxF "$line" ~/.bashrc || echo "$line" >> ~/.bashrc
