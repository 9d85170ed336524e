"""The reference distribution: read from a manifest, exposed as metrics of the version in use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.monitoring.drift_reference import ReferenceDistribution
from service.monitoring.metrics import CONFIDENCE_BUCKETS, Metrics
from tests.conftest import REPOSITORY, Serve, Versions, service_of

REFERENCE: dict[str, Any] = {
    "class_shares": [0.1] * 10,
    "confidence_edges": [float(edge) for edge in np.linspace(0, 1, 21, dtype=np.float32)],
    "confidence_histogram": [0.0] * 17 + [0.05, 0.05, 0.9],
}


def test_confidence_cdf_is_the_cumulative_histogram_at_the_bounds() -> None:
    distribution = ReferenceDistribution.from_histogram(**REFERENCE, bounds=CONFIDENCE_BUCKETS)
    assert distribution.class_shares == [0.1] * 10
    cdf = {bound: pytest.approx(share) for bound, share in distribution.confidence_cdf.items()}
    assert cdf == {0.2: 0, 0.3: 0, 0.4: 0, 0.5: 0, 0.6: 0, 0.7: 0, 0.8: 0, 0.9: 0.05, 0.95: 0.1, 1.0: 1}


def test_committed_version_has_a_reference_distribution() -> None:
    newest = max((REPOSITORY / "models" / "digits").glob("[0-9]*"), key=lambda path: int(path.name))
    reference = json.loads((newest / "manifest.json").read_text())["reference"]
    values = {key: reference[key] for key in REFERENCE}
    distribution = ReferenceDistribution.from_histogram(**values, bounds=CONFIDENCE_BUCKETS)
    assert sum(distribution.class_shares) == pytest.approx(1)
    assert distribution.confidence_cdf[1.0] == pytest.approx(1)


def test_exposition_has_the_reference_of_the_version_in_use(serve: Serve, models: Path, versions: Versions) -> None:
    versions.put(models, 1, reference=REFERENCE)
    client = serve(models, max_in_flight=7)
    text = client.get("/metrics").get_data(as_text=True)
    assert text.count('digits_reference_class_share{digit="') == 10
    assert 'digits_reference_class_share{digit="3"} 0.1\n' in text
    assert 'digits_reference_confidence{le="0.95"} 0.1\n' in text
    assert "digits_in_flight_limit 7.0\n" in text
    versions.put(models, 2)
    service_of(client).store.refresh()
    assert "digits_reference_class_share{" not in client.get("/metrics").get_data(as_text=True)


def test_reference_is_removed_with_its_version() -> None:
    metrics = Metrics()
    metrics.model_changed("1", "litert", None, ReferenceDistribution([0.1] * 10, {1.0: 1.0}))
    metrics.model_changed("2", "litert", ("1", "litert"))
    assert b"digits_reference_confidence{" not in metrics.exposition()
