#!/usr/bin/env bash
# A real Slurm of one node, all of it in a folder, for any user: nothing outside is read or written.
#     tests/slurm/start.sh /tmp/slurm      # until Ctrl-C; then in another terminal
#     source /tmp/slurm/activate           # sbatch, squeue, snakemake see this Slurm
# Needs slurmctld, slurmd and munged (Debian: apt-get install slurm-wlm munge), and no systemd.
set -euo pipefail

mkdir -p "$1"
folder=$(cd "$1" && pwd)
export PATH=$PATH:/usr/sbin
rm -f "$folder/activate" "$folder/munge.socket"* # left by one that was killed
mkdir -p "$folder/bin" "$folder/state" "$folder/spool"
srun=$(command -v srun)
read -r controller_port node_port < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))')

# cred_expire is also how long a requeued job waits.
cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0
SlurmdTimeout=300
ReturnToService=2
GresTypes=gpu
$(slurmd -C | head -1) NodeAddr=127.0.0.1 Gres=gpu:1 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=12:00:00 State=UP
CONF

# One that nothing can compute on, to be asked for.
echo "Name=gpu File=/dev/null" > "$folder/gres.conf"

# A job's steps lose SLURM_CONF, since the executor plugin hides Slurm's variables from them.
cat > "$folder/bin/srun" <<SRUN
#!/bin/sh
SLURM_CONF='$folder/slurm.conf' exec '$srun' "\$@"
SRUN
chmod +x "$folder/bin/srun"

head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 600 "$folder/munge.key"
export SLURM_CONF=$folder/slurm.conf

daemons=()
stop() {
    scancel --user "$(id -un)" --signal KILL --full 2> /dev/null || true
    for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
        kill "${daemons[i]}" 2> /dev/null || true
        wait "${daemons[i]}" || true
    done
}
trap stop EXIT
trap 'exit 0' INT TERM

munged --foreground --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" \
    --pid-file "$folder/munged.pid" --log-file "$folder/munged.log" \
    --seed-file "$folder/munged.seed" > "$folder/munged.out" 2>&1 &
daemons+=($!)
until [ -S "$folder/munge.socket" ]; do sleep 0.1; done
slurmctld -D > "$folder/slurmctld.log" 2>&1 &
daemons+=($!)
slurmd -D > "$folder/slurmd.log" 2>&1 &
daemons+=($!)

until [ "$(sinfo --noheader --format %T 2> /dev/null)" = idle ]; do
    for daemon in "${daemons[@]}"; do
        kill -0 "$daemon" || { cat "$folder"/*.log >&2 && exit 1; }
    done
    sleep 0.1
done
cat > "$folder/activate" <<ACTIVATE
export SLURM_CONF='$folder/slurm.conf' PATH='$folder/bin':"\$PATH"
ACTIVATE
echo "Slurm $(sinfo --version | cut -d ' ' -f 2) is ready: source $folder/activate"
wait -n
