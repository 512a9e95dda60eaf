"""The EC2 protocol as clients meet it: envelopes, parameters, paging, filters, dry runs, signatures."""

import datetime
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import rig


def code_of(call, *args, **kwargs):
    with pytest.raises(ClientError) as refused:
        call(*args, **kwargs)
    return refused.value.response["Error"]["Code"]


def send(request):
    """(status, body, headers) of an answer, whatever its status."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def signed(server, parameters, method="POST", auth=SigV4Auth, service="ec2", region=rig.REGION):
    """A request that botocore signs and urllib sends: what no SDK would write can be sent so."""
    body = urllib.parse.urlencode(parameters)
    url = f"{server.url}/" if method == "POST" else f"{server.url}/?{body}"
    request = AWSRequest(method=method, url=url, data=body if method == "POST" else b"")
    if method == "POST":
        request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    auth(Credentials(*server.keys()), service, region).add_auth(request)
    prepared = request.prepare()
    data = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    return urllib.request.Request(prepared.url, data=data or None, headers=dict(prepared.headers), method=method)


VERSION = "2016-11-15"


@pytest.mark.parametrize(("method", "auth"), [("POST", SigV4Auth), ("GET", SigV4Auth), ("GET", SigV4QueryAuth)])
def test_both_methods_and_both_places_of_the_signature(server, method, auth):
    status, body, headers = send(signed(server, {"Action": "DescribeRegions", "Version": VERSION}, method, auth))
    assert status == 200, body
    assert f'<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/{VERSION}/">' in body
    assert headers["Content-Type"] == "text/xml;charset=UTF-8"
    assert headers["x-amzn-requestid"] in body


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"Action": "MakeCoffee", "Version": VERSION}, 400, "InvalidAction"),
        ({"Version": VERSION}, 400, "MissingAction"),
        ({"Action": "DescribeRegions", "Version": "coffee"}, 400, "NoSuchVersion"),
        ({"Action": "DescribeRegions", "Version": VERSION, "Sugar": "2"}, 400, "UnknownParameter"),
        ({"Action": "DeleteSnapshot", "Version": VERSION}, 400, "MissingParameter"),
        ({"Action": "DescribeImages", "Version": VERSION, "imageId.1": "ami-12345678"}, 400, "UnknownParameter"),
        ({"Action": "DescribeImages", "Version": VERSION, "ImageId.1": "x"}, 400, "InvalidAMIID.Malformed"),
        ({"Action": "DescribeImages", "Version": VERSION, "ImageId.1": "ami-12345678"}, 400, "InvalidAMIID.NotFound"),
    ],
)
def test_bad_parameters_get_the_documented_code(server, parameters, status, code):
    answered, body, _ = send(signed(server, parameters))
    assert (answered, f"<Code>{code}</Code>" in body) == (status, True), body


def test_an_unsigned_request_is_refused(server):
    data = urllib.parse.urlencode({"Action": "DescribeRegions", "Version": VERSION}).encode()
    status, body, _ = send(urllib.request.Request(f"{server.url}/", data=data))
    assert status in (400, 401, 403) and "<Code>" in body, body


def test_a_clock_that_is_off_is_refused(server):
    request = AWSRequest(method="GET", url=f"{server.url}/?Action=DescribeRegions&Version={VERSION}")
    old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)

    class Auth(SigV4Auth):
        def add_auth(self, request):
            request.context["timestamp"] = old.strftime("%Y%m%dT%H%M%SZ")
            self._modify_request_before_signing(request)
            canonical = self.canonical_request(request)
            signature = self.signature(self.string_to_sign(request, canonical), request)
            self._inject_signature_to_request(request, signature)

    Auth(Credentials(*server.keys()), "ec2", rig.REGION).add_auth(request)
    prepared = request.prepare()
    status, body, _ = send(urllib.request.Request(prepared.url, headers=dict(prepared.headers)))
    assert status in (400, 401, 403) and "<Code>RequestExpired</Code>" in body, body


def test_an_oversized_request_is_refused_and_the_server_goes_on(server):
    data = b"Action=DescribeRegions&Version=2016-11-15&Pad=" + b"x" * (20 << 20)
    try:
        status, _, _ = send(urllib.request.Request(f"{server.url}/", data=data))
        assert 400 <= status < 500
    except (urllib.error.URLError, ConnectionError):
        pass  # refused while it was still being sent
    assert server.healthy()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"Action=%ZZ", b"&&&=&", b"<xml/>", b"Action=A&Action=B"])
def test_malformed_bodies_get_an_error_document(server, body):
    status, text, _ = send(urllib.request.Request(f"{server.url}/", data=body))
    assert 400 <= status < 500 and "<Code>" in text, text


def test_dry_runs_change_nothing(ec2, name):
    assert code_of(ec2.create_key_pair, KeyName=name, DryRun=True) == "DryRunOperation"
    assert code_of(ec2.describe_images, DryRun=True) == "DryRunOperation"
    assert code_of(ec2.describe_key_pairs, KeyNames=[name]) == "InvalidKeyPair.NotFound"


def test_regions_are_apart_and_come_from_the_signature(server, name):
    server.client().create_key_pair(KeyName=name)
    assert code_of(server.client(region="eu-west-1").describe_key_pairs, KeyNames=[name]) == "InvalidKeyPair.NotFound"


def test_zones_default_network_and_types(ec2):
    assert {"us-east-1", "us-west-2", "eu-west-1"} <= {r["RegionName"] for r in ec2.describe_regions()["Regions"]}
    zones = {zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    assert {subnet["AvailabilityZone"] for subnet in subnets} == zones
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])["SecurityGroups"]
    assert [group["VpcId"] for group in groups] == [vpc["VpcId"]]
    [kind] = ec2.describe_instance_types(InstanceTypes=["t3.small"])["InstanceTypes"]
    assert kind["InstanceType"] == "t3.small" and kind["MemoryInfo"]["SizeInMiB"] == 2048


def test_security_groups_open_and_close(ec2, name):
    group = ec2.create_security_group(GroupName=name, Description="for a test")["GroupId"]
    ssh = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ssh)
    assert code_of(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=ssh) == "InvalidPermission.Duplicate"
    [shown] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert shown["IpPermissions"][0]["FromPort"] == 22
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=ssh)
    [shown] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert shown["IpPermissions"] == []
    ec2.delete_security_group(GroupId=group)
    assert code_of(ec2.describe_security_groups, GroupIds=[group]) == "InvalidGroup.NotFound"


def test_filters_take_wildcards_and_unknown_ones_are_refused(ec2, name):
    for letter in "abc":
        ec2.create_key_pair(KeyName=f"{name}-{letter}")
    found = ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [f"{name}-?", "nothing*"]}])["KeyPairs"]
    assert len(found) == 3
    assert code_of(ec2.describe_key_pairs, Filters=[{"Name": "taste", "Values": ["x"]}]) == "InvalidParameterValue"


def test_pages_join_to_the_whole(ec2, name):
    group = ec2.create_key_pair(KeyName=name)["KeyPairId"]
    ec2.create_tags(Resources=[group], Tags=[{"Key": f"key-{i}", "Value": str(i)} for i in range(12)])
    filters = [{"Name": "resource-id", "Values": [group]}]
    paginator = ec2.get_paginator("describe_tags")
    pages = list(paginator.paginate(Filters=filters, PaginationConfig={"PageSize": 5}))
    assert [len(page["Tags"]) for page in pages] == [5, 5, 2]
    assert {tag["Key"] for page in pages for tag in page["Tags"]} == {f"key-{i}" for i in range(12)}


def test_imported_keys_have_the_fingerprint_of_openssh(ec2, name):
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPGvHpwb9W7N4o5F3o7iM2tyKk2Ul1Qm2aRGyXwUo0OB test"
    pair = ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public.encode())
    assert pair["KeyPairId"].startswith("key-")
    [shown] = ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
    assert shown["PublicKey"].split()[:2] == public.split()[:2]
    assert shown["KeyType"] == "ed25519"
    assert code_of(ec2.import_key_pair, KeyName=name, PublicKeyMaterial=public.encode()) == "InvalidKeyPair.Duplicate"
    ec2.delete_key_pair(KeyName=name)
    ec2.delete_key_pair(KeyName=name)  # what is gone already is no error
