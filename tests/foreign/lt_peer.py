"""An unmodified libtorrent as the other side of a test.

    lt_peer.py seed TORRENT DATA_DIR          serves until standard input closes
    lt_peer.py download TORRENT OUT_DIR PEER  fetches from PEER (host:port), then ends

Prints one JSON object a line: {"event": "ready", "listen": ...}, {"event": "done", "bytes": ...}.
"""

import json
import sys
import threading
import time

import libtorrent as lt


def say(**line):
    print(json.dumps(line), flush=True)


def session():
    return lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "allow_multiple_connections_per_ip": True,
            "in_enc_policy": int(lt.enc_policy.disabled),
            "out_enc_policy": int(lt.enc_policy.disabled),
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "close_redundant_connections": False,
        }
    )


def add(ses, torrent, folder, seed):
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~lt.torrent_flags.auto_managed
    params.flags &= ~lt.torrent_flags.paused
    return ses.add_torrent(params)


def main():
    role, torrent, folder = sys.argv[1:4]
    ses = session()
    handle = add(ses, torrent, folder, role == "seed")
    if role == "seed":
        while not handle.status().is_seeding:
            if handle.status().errc.value():
                sys.exit(handle.status().errc.message())
            time.sleep(0.02)
        say(event="ready", listen=f"127.0.0.1:{ses.listen_port()}")
        sys.stdin.read()
        say(event="stopped", bytes_served=handle.status().total_payload_upload)
        return
    host, port = sys.argv[4].rsplit(":", 1)
    gone = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), gone.set()), daemon=True).start()
    say(event="ready", listen=f"127.0.0.1:{ses.listen_port()}")
    handle.connect_peer((host, int(port)))
    again = time.monotonic()
    while not handle.status().is_seeding:
        if gone.is_set():
            sys.exit("told to stop before the download was complete")
        if handle.status().num_peers == 0 and time.monotonic() - again > 1:
            handle.connect_peer((host, int(port)))
            again = time.monotonic()
        time.sleep(0.02)
    say(event="done", bytes=handle.status().total_wanted_done)


main()
