#!/usr/bin/env python3
"""Runs libtorrent DHT nodes on loopback, as a stand-in for the public DHT.

    dht_nodes.py --count 24 [--net 77]

One node per address, 127.<net>.<n>.1, each on a port of its own choosing. When every node knows
enough others, prints one line of JSON, {"event": "ready", "nodes": ["127.77.1.1:40001", ...]},
and runs until stdin ends.

Needs the package libtorrent from PyPI.
"""

import argparse
import json
import socket
import sys
import time
import warnings

# session.status() is deprecated but still the only answer without alerts.
warnings.filterwarnings("ignore", category=DeprecationWarning)

try:
    import libtorrent as lt
except ImportError:
    sys.exit("this Python has no libtorrent: `pip install libtorrent` gives it one")

SETTLE_LIMIT_S = 40


def settings(interface):
    """A node that treats neighbours on loopback as it would strangers on the internet."""
    return {
        "listen_interfaces": interface,
        "enable_dht": True,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_tcp": False,
        "enable_outgoing_tcp": False,
        "dht_bootstrap_nodes": "",
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_ignore_dark_internet": False,
        "dht_enforce_node_id": False,
        "dht_prefer_verified_node_ids": False,
        "dht_block_ratelimit": 100_000,
        "dht_upload_rate_limit": 100_000_000,
        "alert_mask": 0,
    }


def free_port(ip):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ip, 0))
        return probe.getsockname()[1]


def start(count, net):
    """Starts the nodes and waits until each has at least half of the others in its table."""
    addresses = []
    for number in range(1, count + 1):
        ip = f"127.{net}.{number}.1"
        addresses.append((ip, free_port(ip)))
    sessions = [lt.session(settings(f"{ip}:{port}")) for ip, port in addresses]
    wanted = min(count - 1, 12)
    deadline = time.monotonic() + SETTLE_LIMIT_S
    unsettled = set(range(count))
    while unsettled:
        if time.monotonic() > deadline:
            sys.exit(f"{len(unsettled)} of {count} libtorrent nodes did not find {wanted} others")
        for index in sorted(unsettled):
            for ip, port in addresses:
                if (ip, port) != addresses[index]:
                    sessions[index].add_dht_node((ip, port))
        time.sleep(0.1)
        unsettled = {i for i in unsettled if known(sessions[i]) < wanted}
    return sessions, [f"{ip}:{port}" for ip, port in addresses]


def known(session):
    return session.status().dht_nodes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--net", type=int, default=77, help="second octet of the addresses")
    args = parser.parse_args()
    sessions, nodes = start(args.count, args.net)
    ready = {"event": "ready", "nodes": nodes, "version": lt.__version__}
    print(json.dumps(ready), flush=True)
    sys.stdin.read()
    del sessions


if __name__ == "__main__":
    main()
