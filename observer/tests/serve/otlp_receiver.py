"""Receives OTLP metrics over gRPC and HTTP, with OpenTelemetry's own Python messages, and prints each export as JSON.

The first line has the ports. It ends when its standard input does.
"""

import concurrent.futures
import http.server
import json
import sys
import threading

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as rpc

printing = threading.Lock()


def text(value):
    kind = value.WhichOneof("value")
    return str(getattr(value, kind)).lower() if kind == "bool_value" else str(getattr(value, kind))


def attributes(pairs):
    return {pair.key: text(pair.value) for pair in pairs}


def points(metric):
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points:
        shown = {"name": metric.name, "unit": metric.unit, "kind": kind, "labels": attributes(point.attributes)}
        if kind == "exponential_histogram":
            shown |= {"count": point.count, "sum": point.sum}
        else:
            shown["value"] = getattr(point, point.WhichOneof("value"))
        yield shown


def show(request, how):
    for resource in request.resource_metrics:
        received = [shown for scope in resource.scope_metrics for metric in scope.metrics for shown in points(metric)]
        with printing:
            print(json.dumps({"how": how, "resource": attributes(resource.resource.attributes), "points": received}), flush=True)


class Receiver(rpc.MetricsServiceServicer):
    def Export(self, request, context):
        headers = dict(context.invocation_metadata())
        show(request, f"grpc {headers.get('x-team', '')}".strip())
        return service.ExportMetricsServiceResponse()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        show(service.ExportMetricsServiceRequest.FromString(body), f"http {self.path}")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


grpc_server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
rpc.add_MetricsServiceServicer_to_server(Receiver(), grpc_server)
grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
grpc_server.start()
http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=http_server.serve_forever, daemon=True).start()
print(json.dumps({"grpc": grpc_port, "http": http_server.server_port}), flush=True)
sys.stdin.read()
