"""OTLP in: traces, logs and metrics, by HTTP and by gRPC, for exporters of OpenTelemetry and for those of other platforms.

`senders` says by which path and with which key somebody comes, `unpacking` and `wire` what their bytes mean, `salvage` what is left of
bytes that mean nothing in places; `intake` has it on disk before it is acknowledged. `http` and `grpc` are two faces of the one intake;
`port` listens for gRPC, which is loaded when somebody first comes.
"""

from windlass.doors.otlp.http import Otlp
from windlass.doors.otlp.intake import Intake

__all__ = ["Intake", "Otlp"]
