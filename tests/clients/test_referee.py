"""The referee sees each foul that it is there for."""

import functools

import botocore.loaders
import botocore.model
import pytest

import referee

NAMESPACE = referee.EC2_NAMESPACE


@functools.cache
def operation(name, service="ec2"):
    loaded = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(loaded, service).operation_model(name)


def images(inside, root="DescribeImagesResponse", namespace=NAMESPACE):
    return f'<{root} xmlns="{namespace}"><requestId>1</requestId><imagesSet><item>{inside}</item></imagesSet></{root}>'


class Answer:
    def __init__(self, content, headers=()):
        self.content, self.headers = content.encode(), dict(headers)


GOOD = "<imageId>ami-1</imageId><imageState>available</imageState><isPublic>false</isPublic>"


def test_a_good_answer_passes():
    referee.read_ec2(operation("DescribeImages"), images(GOOD).encode())


@pytest.mark.parametrize(
    "body",
    [
        images("<imageid>ami-1</imageid>"),
        images("<isPublic>True</isPublic>"),
        images("<imageState>ready</imageState>"),
        images("<imageId>a</imageId><imageId>b</imageId>"),
        images("<tagSet><member></member></tagSet>"),
        images("<blockDeviceMapping><item><ebs><volumeSize>8 GiB</volumeSize></ebs></item></blockDeviceMapping>"),
        images(GOOD, root="DescribeImagesResult"),
        images(GOOD, namespace=NAMESPACE.rstrip("/")),
        images(GOOD).replace("<requestId>1</requestId>", ""),
        "<not xml",
    ],
)
def test_a_foul_is_seen(body):
    with pytest.raises(referee.Foul):
        referee.read_ec2(operation("DescribeImages"), body.encode())


def test_times_have_the_form_of_ec2():
    key = '<CreateSnapshotResponse xmlns="%s"><requestId>1</requestId><startTime>%s</startTime></CreateSnapshotResponse>'
    referee.read_ec2(operation("CreateSnapshot"), (key % (NAMESPACE, "2026-11-21T08:22:07.000Z")).encode())
    with pytest.raises(referee.Foul):
        referee.read_ec2(operation("CreateSnapshot"), (key % (NAMESPACE, "2026-11-21T08:22:07Z")).encode())


@pytest.mark.parametrize(
    "content",
    [
        '<Response xmlns="x"><Errors><Error><Code>A</Code><Message>b</Message></Error></Errors><RequestID>1</RequestID></Response>',
        "<Response><Errors><Error><Code>A</Code></Error></Errors><RequestID>1</RequestID></Response>",
        "<Response><Errors><Error><Code>A</Code><Message>b</Message></Error></Errors><RequestId>1</RequestId></Response>",
    ],
)
def test_error_documents_are_exact(content):
    with pytest.raises(referee.Foul):
        referee.read_error(operation("DescribeImages"), Answer(content))


@pytest.mark.parametrize("body", ['{"Snapshot": "snap-1"}', '{"SnapshotId": 1}', '{"Status": "ready"}'])
def test_json_answers_are_read_too(body):
    start = operation("StartSnapshot", "ebs")
    headers = {"x-amzn-RequestId": "1"}
    referee.read_json(start, Answer('{"SnapshotId": "snap-1", "Status": "pending"}', headers))
    with pytest.raises(referee.Foul):
        referee.read_json(start, Answer(body, headers))
