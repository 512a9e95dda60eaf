"""Reads every answer against the service model that botocore carries.

boto3 drops what it does not know, so a misspelled element goes unseen in ordinary tests. Here it is
an error: an element that the model does not have, a scalar that is not of its type, a list without
`item`, an unknown enum value, a wrong root or namespace, a timestamp in another form than EC2's.
"""

import json
import re
import xml.etree.ElementTree as ElementTree

from botocore.model import ListShape, StructureShape

EC2_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
INTEGER = re.compile(r"-?\d+")
# Answers that real services give and the model leaves out.
UNMODELLED = {"requestId", "return"}


class Foul(AssertionError):
    """An answer that the model does not allow."""


def watch(client):
    """Every later answer to this client is read; a foul fails the call."""

    def after_call(http_response, parsed, model, **_):
        if http_response.status_code >= 300:
            read_error(model, http_response)
        elif model.metadata["protocol"] == "ec2":
            read_ec2(model, http_response.content)
        elif model.metadata["protocol"] == "query":
            read_query(model, http_response.content)
        elif not model.has_streaming_output:
            read_json(model, http_response)

    client.meta.events.register("after-call", after_call)


def read_ec2(model, body):
    root = parse(body)
    expect_root(root, EC2_NAMESPACE, f"{model.name}Response")
    element(root, model.output_shape, model.name)
    if text_of(root, "requestId") is None:
        raise Foul(f"{model.name}: no requestId")


def read_query(model, body):
    root = parse(body)
    expect_root(root, model.metadata["xmlNamespace"], f"{model.name}Response")
    allowed = {"ResponseMetadata", f"{model.name}Result"}
    for child in root:
        if name_of(child) not in allowed:
            raise Foul(f"{model.name}: unknown element {name_of(child)}")
        if name_of(child) == f"{model.name}Result":
            element(child, model.output_shape, model.name)


def read_json(model, response):
    shape, headers = model.output_shape, {name.lower() for name in response.headers}
    document = json.loads(response.content) if response.content else {}
    known = shape.members if shape else {}
    in_body = {m.serialization.get("locationName", name): m for name, m in known.items() if not m.serialization.get("location")}
    for name, value in document.items():
        if name not in in_body:
            raise Foul(f"{model.name}: unknown member {name}")
        json_value(value, in_body[name], f"{model.name}.{name}")
    if "x-amzn-requestid" not in headers:
        raise Foul(f"{model.name}: no x-amzn-requestid")


def read_error(model, response):
    protocol = model.metadata["protocol"]
    if protocol == "ec2":
        root = parse(response.content)
        errors = root.find("Errors")
        if root.tag != "Response" or errors is None or [c.tag for c in root] != ["Errors", "RequestID"]:
            raise Foul(f"{model.name}: error document {response.content!r}")
        if any([part.tag for part in error] != ["Code", "Message"] for error in errors):
            raise Foul(f"{model.name}: error without exactly Code and Message: {response.content!r}")
    elif protocol == "rest-json" and "x-amzn-errortype" not in {name.lower() for name in response.headers}:
        raise Foul(f"{model.name}: error without x-amzn-ErrorType")


def parse(body):
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise Foul(f"not XML: {error}: {body[:200]!r}") from error


def expect_root(root, namespace, name):
    if root.tag != f"{{{namespace}}}{name}":
        raise Foul(f"root is {root.tag}, expected {name} in {namespace}")


def name_of(node):
    return node.tag.rpartition("}")[2]


def text_of(node, name):
    return next((child.text for child in node if name_of(child) == name), None)


def element(node, shape, path):
    if shape is None:
        members = {}
    elif isinstance(shape, StructureShape):
        members = {m.serialization.get("name", name): m for name, m in shape.members.items()}
    elif isinstance(shape, ListShape):
        return items(node, shape, path)
    else:
        return scalar(node.text or "", shape, path)
    seen = set()
    for child in node:
        name = name_of(child)
        if name in seen:
            raise Foul(f"{path}: {name} twice")
        seen.add(name)
        if name in members:
            element(child, members[name], f"{path}.{name}")
        elif not ("." not in path and name in UNMODELLED):
            raise Foul(f"{path}: unknown element {name}")
    return None


def items(node, shape, path):
    wanted = shape.member.serialization.get("name", "member")
    for index, child in enumerate(node):
        if name_of(child) != wanted:
            raise Foul(f"{path}: {name_of(child)} where {wanted} belongs")
        element(child, shape.member, f"{path}[{index}]")


def scalar(text, shape, path):
    kind = shape.type_name
    if kind == "boolean" and text not in ("true", "false"):
        raise Foul(f"{path}: {text!r} is no boolean")
    if kind in ("integer", "long") and not INTEGER.fullmatch(text):
        raise Foul(f"{path}: {text!r} is no integer")
    if kind == "timestamp" and not TIMESTAMP.fullmatch(text):
        raise Foul(f"{path}: {text!r} is no timestamp of EC2's")
    allowed = getattr(shape, "enum", None)
    if kind == "string" and allowed and text not in allowed:
        raise Foul(f"{path}: {text!r} is none of {', '.join(allowed)}")


def json_value(value, shape, path):
    kinds = {
        "structure": dict, "list": list, "map": dict, "string": str, "boolean": bool,
        "integer": int, "long": int, "float": (int, float), "double": (int, float), "timestamp": (int, float),
    }
    expected = kinds.get(shape.type_name)
    if expected and not isinstance(value, expected):
        raise Foul(f"{path}: {value!r} is no {shape.type_name}")
    if isinstance(shape, StructureShape):
        members = {m.serialization.get("name", name): m for name, m in shape.members.items()}
        for name, part in value.items():
            if name not in members:
                raise Foul(f"{path}: unknown member {name}")
            json_value(part, members[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for index, part in enumerate(value):
            json_value(part, shape.member, f"{path}[{index}]")
    elif shape.type_name == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        raise Foul(f"{path}: {value!r} is none of {', '.join(shape.enum)}")
