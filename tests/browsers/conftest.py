"""One installation and one browser for all pages, and two servers of pages, which are two origins."""

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from deploy.local import install
from deploy.local.rabbitmq import RabbitNode
from tests import receiver
from tests.browsers import setup
from tests.browsers.setup import Site
from tests.live import Live
from tests.whole import Whole

DEADLINE_MS = 60_000
Found = TypeVar("Found")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        """Nothing."""


@pytest.fixture(scope="session")
def live(
    rabbitmq: RabbitNode, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("browsers")
    database = folder / "sluice.db"
    database.write_bytes(sqlite_template.read_bytes())
    with receiver.home(f"sqlite:///{database}", rabbitmq) as home:
        whole = Whole(folder=folder, environment=receiver.bare_environment() | dict(home.environment))
        try:
            whole.start_all()
            yield Live(whole=whole, home=home)
        finally:
            whole.stop()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pages")
    for page in setup.PAGES.glob("*.html"):
        (folder / page.name).write_bytes(page.read_bytes())
    (folder / "sdk.js").write_bytes(_or_skip(setup.script).read_bytes())
    (folder / "sdk.html").write_text("<!doctype html><script src=sdk.js></script>")
    with _serving(folder) as shop, _serving(folder) as other:
        yield Site(shop=shop, other=other)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = _or_skip(setup.chromium)
    with sync_playwright() as playwright:
        # Root may not have a sandbox, and no page here is anybody else's.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(DEADLINE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def key(live: Live, site: Site, slug: str) -> str:
    """A public key for pages of the shop."""
    live.add(slug)
    return live.home.add_public_key(slug, origins=(site.shop,))


def _or_skip(get: Callable[[], Found]) -> Found:
    """A laptop without it skips the tests; CI, which has looked before, must not."""
    try:
        return get()
    except install.PackageMissing as missing:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(str(missing))


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """The origin."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
