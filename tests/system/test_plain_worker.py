"""A gunicorn that the server was not tested with: the service says so, and runs on gunicorn's own asgi worker."""

import sys
from pathlib import Path

from tests.service.payloads import encode, stroke
from tests.system.server import serving

PRETEND = (
    "import sys, gunicorn; gunicorn.__version__ = '99.0'; from gunicorn.app.wsgiapp import run; "
    "sys.argv = ['gunicorn', '--config', 'service/gunicorn.conf.py']; run()"
)


def test_another_gunicorn_is_named_in_one_line_and_serves(one_version: Path) -> None:
    with serving([sys.executable, "-c", PRETEND], model_dir=one_version, workers=2) as server:
        lines = [line for line in server.lines if "99.0 is installed" in line]
        assert len(lines) == 1
        assert "27.0.1 is tested: the service runs on gunicorn's own asgi worker, slower" in lines[0]
        assert "Using worker: service.server.plain_worker.PlainWorker" in server.log
        for _ in range(20):
            assert server.predict(encode(stroke())).status_code == 200
        server.wait_for_metrics('digits_http_requests_total{method="POST",route="/predict",status="200"} 20.0')
        assert server.client.post("/predict", content=b"").status_code == 400
    assert server.process.returncode == 0
