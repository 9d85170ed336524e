"""gunicorn and asyncio: the only package that touches the server's internals."""
