"""Every way in: the API, the gateway, OTLP, the pages, the command line. No powers of their own: each asks a service, as somebody.

`app` puts them behind one address, `auth` finds out who asks, `serve` keeps the processes alive.
"""
