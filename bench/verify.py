"""How fast the store is verified: bytes of blocks, decoded and hashed, a second."""

import json

import common


def verify(server):
    done = server.katagami("verify", "--all", "--json", "--data", server.data, timeout_s=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def rate(report):
    return report["decoded_bytes"] / 1e9 / (report["elapsed_ms"] / 1e3)


def main():
    disk = common.debian_disk()
    with common.server() as server:
        common.push(server, disk, "first")
        reports = [verify(server) for _ in range(3)]
        served = sorted(map(rate, reports))[1]
        server.stop()
        alone = sorted(rate(verify(server)) for _ in range(3))[1]
    common.say(f"{reports[0]['decoded_bytes'] / 2**20:.0f} MiB of blocks in {reports[0]['packs']} packs")
    common.row("verify a pushed Debian disk, through the server", "GB/s", served, target="ours >= 1")
    common.row("verify it without a server", "GB/s", alone, target="ours >= 1")


if __name__ == "__main__":
    main()
