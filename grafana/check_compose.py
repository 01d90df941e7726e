#!/usr/bin/env python3
"""Reads a compose file as its specification has it, and tells what is wrong with it.

Usage: check_compose.py FILE

Needs compose-spec from PyPI.
"""

import sys

import compose_spec

# A name that Docker resolves itself; the package expects an address there.
GATEWAY = "host-gateway"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        text = file.read().replace(f":{GATEWAY}", ":192.0.2.1")
    try:
        compose = compose_spec.PyCompose.from_yaml(text)
        compose.validate()
    except ValueError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    print(*compose.service_names())


if __name__ == "__main__":
    main()
