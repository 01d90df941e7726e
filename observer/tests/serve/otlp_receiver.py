"""Receives OTLP metrics and log records over gRPC and HTTP, with OpenTelemetry's own Python messages, and prints each export
as JSON. With the files of a certificate and its key as arguments, it does so over TLS.

The first line has the ports. It ends when its standard input does.
"""

import concurrent.futures
import http.server
import json
import pathlib
import ssl
import sys
import threading

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_rpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as rpc

printing = threading.Lock()


def text(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return ",".join(text(each) for each in value.array_value.values)
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


def record(log):
    return {
        "time": log.time_unix_nano,
        "severity": log.severity_text,
        "number": log.severity_number,
        "event": log.event_name,
        "body": text(log.body),
        "trace": log.trace_id.hex(),
        "span": log.span_id.hex() if any(log.span_id) else "",
        "attributes": attributes(log.attributes),
    }


def tell(how, team, resource, **what):
    with printing:
        print(json.dumps({"how": how, "team": team, "resource": attributes(resource.attributes)} | what), flush=True)


def show(request, how, team):
    for resource in request.resource_metrics:
        received = [shown for scope in resource.scope_metrics for metric in scope.metrics for shown in points(metric)]
        tell(how, team, resource.resource, points=received)


def show_logs(request, how, team):
    for resource in request.resource_logs:
        received = [record(log) for scope in resource.scope_logs for log in scope.log_records]
        tell(how, team, resource.resource, records=received)


def team_of(context):
    return dict(context.invocation_metadata()).get("x-team", "")


class Metrics(rpc.MetricsServiceServicer):
    def Export(self, request, context):
        show(request, "grpc", team_of(context))
        return service.ExportMetricsServiceResponse()


class Logs(logs_rpc.LogsServiceServicer):
    def Export(self, request, context):
        show_logs(request, "grpc", team_of(context))
        return logs_service.ExportLogsServiceResponse()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        how, team = f"http {self.path}", self.headers.get("x-team", "")
        if self.path == "/v1/logs":
            show_logs(logs_service.ExportLogsServiceRequest.FromString(body), how, team)
        else:
            show(service.ExportMetricsServiceRequest.FromString(body), how, team)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


grpc_server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
rpc.add_MetricsServiceServicer_to_server(Metrics(), grpc_server)
logs_rpc.add_LogsServiceServicer_to_server(Logs(), grpc_server)
http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    certificate, key = (pathlib.Path(name).read_bytes() for name in sys.argv[1:3])
    grpc_port = grpc_server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
    # Each connection's thread does the handshake, so that one that fails ends only itself.
    http_server.socket = tls.wrap_socket(http_server.socket, server_side=True, do_handshake_on_connect=False)
    http_server.handle_error = lambda *_: None
else:
    grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
grpc_server.start()
threading.Thread(target=http_server.serve_forever, daemon=True).start()
print(json.dumps({"grpc": grpc_port, "http": http_server.server_port}), flush=True)
sys.stdin.read()
