"""The API against what it says of itself: whatever a program thinks of sending, the service does not fail."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sidgan.web.app import create_app
from sidgan.web.limits import Limits
from sidgan.web.settings import Service

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed; run make e2e")
GENEROUS = Limits(spare=0, requests=1e6, burst=1_000_000, silence=1.0, jobs=10_000)
KEPT = Path(tempfile.mkdtemp(prefix="sidgan-api-"))
atexit.register(shutil.rmtree, KEPT, ignore_errors=True)
app = create_app(Service(folder=KEPT, limits=GENEROUS, workers=0, hosts=("localhost", "127.0.0.1", "testserver")))
api = schemathesis.openapi.from_asgi("/api/openapi.json", app)


@api.parametrize()
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_makes_it_fail(case: schemathesis.Case) -> None:
    answer = case.call()
    assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"code", "message"}


@pytest.fixture(scope="module", autouse=True)
def ended() -> object:
    """The processes that look at files end, too."""
    yield
    app._app.state.parts.uploads._prober.close()
