"""Asks a real node everything that its description allows, and some of what it does not, and compares
the answers with the description: `contract.py DPAY SCHEMATHESIS`. Less than a minute.

Left out: what stops the node or starts others, logging in (it locks out), and answers without an end.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

SECONDS = 40
LEFT_OUT = r"/(events|login.*|play|node/stop|stream)$"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
# 502: the broker that the wallet names does not answer, and here none does.
CONFIG = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "502"]\n'


def main(dpay: str, schemathesis: str) -> int:
    # It works in a folder of its own.
    description = pathlib.Path(__file__).absolute().parent.parent / "docs" / "openapi.json"
    schemathesis = pathlib.Path(schemathesis).absolute()
    with tempfile.TemporaryDirectory(prefix="dpay-contract") as folder:
        root = pathlib.Path(folder)
        home, config = root / "home", root / "schemathesis.toml"
        config.write_text(CONFIG)
        # The only DHT node that it knows does not exist: nothing leaves this machine.
        node = subprocess.Popen(
            [dpay, "node", "--json", "--with-parent", "--home", home, "--web", "127.0.0.1:0"]
            + ["--listen", "127.0.0.1:0", "--downloads", root / "downloads"]
            + ["--dht-bootstrap", "127.0.0.1:9"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            ready = json.loads(node.stdout.readline())
            token = (home / "api.token").read_text().strip()
            done = subprocess.run(
                [schemathesis, "--config-file", config, "run", description]
                + ["--url", ready["url"], "--header", f"Authorization: Bearer {token}"]
                + ["--exclude-path-regex", LEFT_OUT, "--checks", ",".join(CHECKS)]
                + ["--phases", "examples,coverage,fuzzing", "--max-time", str(SECONDS)]
                + ["--seed", "1", "--warnings", "off", "--request-timeout", "10", "--no-color"],
                cwd=root,
                timeout=SECONDS + 80,
            )
            if node.poll() is not None:
                print(f"the node ended with code {node.returncode}", file=sys.stderr)
                return 1
            return done.returncode
        finally:
            node.terminate()
            node.communicate(timeout=60)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
