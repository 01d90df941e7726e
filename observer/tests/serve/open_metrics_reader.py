"""Reads a page of metrics in the form of OpenMetrics, with the parser of Prometheus' Python client, and prints it as JSON."""

import json
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

wanted = urllib.request.Request(sys.argv[1], headers={"Accept": "application/openmetrics-text; version=1.0.0"})
with urllib.request.urlopen(wanted, timeout=10) as answer:
    kind, page = answer.headers["Content-Type"], answer.read().decode()


def shown(sample):
    exemplar = sample.exemplar
    told = exemplar and {"labels": exemplar.labels, "value": float(exemplar.value), "time": float(exemplar.timestamp)}
    return {"name": sample.name, "labels": sample.labels, "value": float(sample.value), "exemplar": told}


families = [
    {"name": family.name, "type": family.type, "unit": family.unit, "samples": [shown(each) for each in family.samples]}
    for family in text_string_to_metric_families(page)
]
print(json.dumps({"type": kind, "end": page[-6:], "families": families}))
