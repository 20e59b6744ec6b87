#!/usr/bin/env bash
# Lets nobody but the cluster's own hosts reach this one, except by ssh:
#
#   bash firewall.sh local.yaml      reads the hosts' addresses from the cluster file
#   sudo nft delete table inet inat_ray                              undoes it, as does a reboot
#
# It adds a table of its own to nftables, and may be repeated. A packet must pass every table, so a
# firewall that is there already stays in force. What this host begins itself (packages, NFS, S3) is
# not touched.
set -euo pipefail

[[ -r ${1:-} ]] || { echo "firewall.sh: give the cluster file that names the hosts" >&2; exit 2; }

hosts=$(~/inat_ray/.venv/bin/python - "$1" << 'END'
import ipaddress, sys, yaml
provider = yaml.safe_load(open(sys.argv[1]))["provider"]
hosts = [ipaddress.IPv4Address(host) for host in (provider["head_ip"], *provider["worker_ips"])]
print(*hosts, sep=", ")
END
) || { echo "firewall.sh: $1 must give head_ip and worker_ips as IPv4 addresses" >&2; exit 2; }

nft=(nft)
((EUID == 0)) || nft=(sudo --non-interactive nft)

# One transaction: either all of it holds, or what held before. ssh comes in the same breath as the
# policy, so nobody is locked out, and an open session goes on.
"${nft[@]}" --file - << END
table inet inat_ray
delete table inet inat_ray
table inet inat_ray {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto { icmp, ipv6-icmp } accept
        udp dport { 68, 546 } accept comment "DHCP, or the host would lose its address"
        tcp dport 22 accept
        ip saddr { $hosts } accept
    }
}
END
