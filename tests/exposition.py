"""Reads Prometheus's text format, as `GET /metrics` returns it."""


def samples(exposition: str, *names: str) -> list[str]:
    """Samples whose lines begin with one of these names, without comments and the times of creation.

    Args:
        exposition: the text of `GET /metrics`.
        names: beginnings of metric names; without any, all samples are returned.
    """
    return [
        line
        for line in exposition.splitlines()
        if line.startswith(names or "") and not line.startswith("#") and "_created" not in line
    ]
