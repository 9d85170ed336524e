"""The service under a path of a real nginx: deploy/proxy names the prefix, other proxies pass the path as it is."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.service.payloads import encode, stroke
from tests.system.proxy import PATIENCE, running_proxy, skip_without_nginx
from tests.system.server import serving

pytestmark = pytest.mark.nginx

LINKS = re.compile(r'(?:href|src|action)="(/[^"]*)"')
PICTURE = encode(stroke())
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the stack's proxy, in front of a service without a prefix in its settings."""
    skip_without_nginx()
    directory = tmp_path_factory.mktemp("proxy")
    with serving(workers=1) as server, running_proxy(directory, service=server.host_and_port) as proxy:
        host, port = proxy.address
        with httpx.Client(base_url=f"http://{host}:{port}", timeout=PATIENCE) as client:
            yield client


def check_links(client: httpx.Client, page: str, prefix: str) -> None:
    """Every link of a page, and of the pages that it links, has the prefix and leads somewhere."""
    html = client.get(page).raise_for_status().text
    links = set(LINKS.findall(html))
    assert len(links) >= 5
    for link in links - {f"{prefix}/metrics"}:  # not through the proxy
        assert link.startswith(f"{prefix}/")
        assert client.get(link).status_code == 200, link


@pytest.mark.parametrize("prefix", ["", "/digits"])
def test_page_docs_report_and_predictions_work(proxied: httpx.Client, prefix: str) -> None:
    for page in ("/", "/docs"):
        check_links(proxied, prefix + page, prefix)
    assert proxied.get(f"{prefix}/report/").status_code == 200
    assert proxied.get(f"{prefix}/report").headers["Location"] == f"{prefix}/report/"
    for path in ("/predict", "/predict?fields=digit"):
        assert proxied.post(prefix + path, content=PICTURE, headers=PNG).status_code == 200
    assert proxied.get(f"{prefix}/metrics").json() == {"error": "there is no route /metrics"}


@pytest.mark.parametrize("prefix", ["", "/digits"])
def test_the_prefix_of_a_client_is_not_believed(proxied: httpx.Client, prefix: str) -> None:
    html = proxied.get(f"{prefix}/", headers={"X-Forwarded-Prefix": "/other"}).text
    assert all(link.startswith(f"{prefix}/") for link in LINKS.findall(html))
    assert "/other" not in html


def test_the_path_alone_redirects_to_the_page(proxied: httpx.Client) -> None:
    response = proxied.get("/digits?a=b")
    assert (response.status_code, response.headers["Location"]) == (308, "/digits/?a=b")


def test_a_proxy_that_passes_the_path_as_it_is_needs_the_setting_alone() -> None:
    with serving(workers=1, prefix="/digits") as server:
        for page in ("/digits/", "/digits/docs", "/"):
            check_links(server.client, page, "/digits")
        for path in ("/digits/predict", "/predict"):
            assert server.client.post(path, content=PICTURE, headers=PNG).status_code == 200


def test_the_scheme_of_a_trusted_proxy_is_believed() -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/digits", "Host": "example.org"}
    for proxies, address in (("127.0.0.1", "https://example.org/digits"), ("10.0.0.0/8 ::1", "http://example.org")):
        with serving(workers=1, trusted_proxies=proxies) as server:
            error = server.client.get("/predict", headers=headers).json()["error"]
            assert error.endswith(f"{address}/predict")
