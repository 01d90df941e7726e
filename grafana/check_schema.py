#!/usr/bin/env python3
"""Reads dashboards with Grafana's own model of them, and tells what that doesn't know.

Usage: check_schema.py DASHBOARD…

Needs grafana-foundation-sdk, whose models are made from Grafana's schema.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(ours, theirs, path):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours:
            if key not in theirs:
                yield f"{path}.{key} is not in the schema"
            else:
                yield from differences(ours[key], theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (one, other) in enumerate(zip(ours, theirs)):
            yield from differences(one, other, f"{path}[{place}]")
    elif ours != theirs:
        yield f"{path} is {ours!r}, and the schema makes it {theirs!r}"


def main():
    register_default_plugins()
    found = []
    for name in sys.argv[1:]:
        with open(name) as file:
            board = json.load(file)
        read = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
        found += differences(board, read, name)
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
