"""A service under everything that clients, versions and the machine can do to it at once: `make chaos`.

Beside the chaos one client sends valid requests and counts. Each kind of misbehaviour is one function in a registry
(registry.py): clients.py, malformed_requests.py, faults.py and bad_versions.py have them. experiment.py runs the
phases, verdict.py decides what failed, tables.py prints.
"""
