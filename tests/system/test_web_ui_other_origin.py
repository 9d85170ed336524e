"""A web page of another origin in a browser uses the service, if DIGITS_CORS_ORIGINS lists the origin."""

from typing import Any

from playwright.sync_api import Browser

from tests.conftest import REPOSITORY
from tests.system.server import Server, serving
from tests.system.stack import free_ports

SEND = """async ([url, bytes, key]) => {
    const headers = { "Content-Type": "image/png", Authorization: `Bearer ${key}` };
    try {
        const response = await fetch(url, { method: "POST", body: Uint8Array.from(bytes), headers });
        return [response.status, await response.json(), response.headers.get("WWW-Authenticate")];
    } catch {
        return "blocked";
    }
}"""
SEVEN = list((REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes())


def send(browser: Browser, server: Server, key: str) -> Any:
    """POST /predict of http://127.0.0.1 from a page of http://localhost: another origin on the same port."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://localhost:{server.host_and_port[1]}/healthz")
        return page.evaluate(SEND, [f"{server.address}/predict?fields=digit", SEVEN, key])


def test_a_listed_origin_reads_responses_and_errors(browser: Browser) -> None:
    (port,) = free_ports(1)
    origins = f"https://other.example http://localhost:{port}"
    with serving(workers=1, port=port, api_key="secret", cors_origins=origins) as server:
        status, document, _ = send(browser, server, "secret")
        assert (status, document["predictions"]) == (200, [{"digit": 7}])
        status, document, challenge = send(browser, server, "wrong")
        assert (status, list(document), challenge) == (401, ["error"], "Bearer")


def test_any_other_origin_is_blocked(browser: Browser) -> None:
    with serving(workers=1, cors_origins="https://other.example") as server:
        assert send(browser, server, "") == "blocked"
