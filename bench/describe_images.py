"""DescribeImages requests a second over two connections, with 10,000 images."""

import http.client
import threading
import time
import urllib.parse

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import common

IMAGE_COUNT = 10_000
SECONDS = 5
CONNECTIONS = 2
GIB = 1


def register(server, count):
    """Registers that many images of one empty snapshot; returns their ids."""
    ebs, ec2 = server.session().client("ebs", endpoint_url=server.url), server.session().client("ec2", endpoint_url=server.url)
    snapshot = ebs.start_snapshot(VolumeSize=GIB)["SnapshotId"]
    ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]
    call = {"RootDeviceName": "/dev/xvda", "BlockDeviceMappings": mapping, "Architecture": "x86_64", "VirtualizationType": "hvm"}
    return [ec2.register_image(Name=f"image-{number:05}", **call)["ImageId"] for number in range(count)]


def request_of(server, parameters):
    """(body, headers), signed once: the same request may be sent again while its time is near."""
    body = urllib.parse.urlencode({"Action": "DescribeImages", "Version": "2016-11-15", **parameters})
    request = AWSRequest(method="POST", url=f"{server.url}/", data=body)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    SigV4Auth(Credentials(*server.keys()), "ec2", common.rig.REGION).add_auth(request)
    return body, dict(request.headers)


def rate(server, parameters):
    """Requests a second."""
    counts, stop = [0] * CONNECTIONS, threading.Event()

    def loop(index):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        body, headers = request_of(server, parameters)
        while not stop.is_set():
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            counts[index] += 1

    threads = [threading.Thread(target=loop, args=[index]) for index in range(CONNECTIONS)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begin)


def main():
    with common.server() as server:
        begin = time.monotonic()
        ids = register(server, IMAGE_COUNT)
        common.row("RegisterImage, one after the other", "1/s", IMAGE_COUNT / (time.monotonic() - begin))
        by_id = rate(server, {"ImageId.1": ids[IMAGE_COUNT // 2]})
        by_name = rate(server, {"Owner.1": "self", "Filter.1.Name": "name", "Filter.1.Value.1": "image-05000"})
        page = rate(server, {"Owner.1": "self", "MaxResults": "100"})
        everything = rate(server, {"Owner.1": "self"})
        common.row(f"DescribeImages of {IMAGE_COUNT}: one by id", "1/s", by_id, target="ours >= 500")
        common.row(f"DescribeImages of {IMAGE_COUNT}: one by a filter on its name", "1/s", by_name, target="ours >= 1000")
        common.row(f"DescribeImages of {IMAGE_COUNT}: a page of 100", "1/s", page, target="ours >= 200")
        common.row(f"DescribeImages of {IMAGE_COUNT}: all of them in one reply", "1/s", everything)


if __name__ == "__main__":
    main()
