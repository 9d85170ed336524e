"""What lives as long as the application: settings, metrics, the model store, and what predicts with them."""

from functools import partial

from service import cors, protocols
from service.inference.last_version import LastVersion
from service.inference.model import Model, load
from service.inference.model_store import ModelStore, PreloadedModel
from service.monitoring.drift_reference import ReferenceDistribution
from service.monitoring.metrics import CONFIDENCE_BUCKETS, Metrics
from service.prediction.admission import Admission
from service.prediction.inline_parser import BodyParser, InlineParser
from service.prediction.predictor import Predictor
from service.settings import Settings

LOAD_SECONDS = 20.0
"""How long the start of an application waits for the first model."""


class ServiceContext:
    """The state of one application: `app.extensions["digits"]`."""

    def __init__(
        self,
        settings: Settings,
        preloaded: PreloadedModel | None = None,
        parser: BodyParser | None = None,
        last_version: LastVersion | None = None,
    ) -> None:
        """Create it; nothing is loaded before `start`.

        Args:
            settings: the settings of the application.
            preloaded: a model that `model_store.preload` loaded before a fork; it is not loaded again.
            parser: parses request bodies; unless given, they are parsed in this process, without limits on time.
            last_version: the version that any worker of the service loaded last, tried before all others.
        """
        self.settings = settings
        self.cors_origins = cors.parse_origins(settings.cors_origins)
        self.metrics = Metrics(settings.metrics_dir)
        self.metrics.set_in_flight_limit(settings.max_in_flight)
        self.store = ModelStore(
            settings.model_dir,
            lambda path: load(path, settings.runtime),
            on_loaded=self._on_model_loaded,
            on_rejected=self.metrics.model_load_failed,
            preloaded=preloaded,
            last_version=last_version,
        )
        self.admission = Admission(settings, self.metrics)
        self.parser = parser or InlineParser(partial(protocols.parse_body, settings=settings))
        self.predictor = Predictor(settings, self.store, self.metrics, self.parser)
        self.stopping = False

    def start(self) -> None:
        """Load the newest version, then watch for newer ones. Without a version, the service responds 503.

        A version that takes long to check or to load must not delay the start until gunicorn kills the worker, which is
        after 30 s: it is then loaded while the service responds 503.
        """
        self.store.watch(self.settings.model_poll_seconds)
        self.store.wait_until_ready(LOAD_SECONDS)
        self.metrics.start()

    def drain(self) -> None:
        """Report not ready from now on; requests are still accepted."""
        self.stopping = True

    def close(self) -> None:
        """Stop watching, end the parser processes, and write the last counts."""
        self.store.close()
        self.parser.close()
        self.metrics.close()

    def _on_model_loaded(self, new: Model, old: Model | None) -> None:
        previous = (old.version, old.runtime.name) if old else None
        self.metrics.model_changed(new.version, new.runtime.name, previous, _reference_distribution(new))


def _reference_distribution(model: Model) -> ReferenceDistribution:
    reference = model.manifest.reference if model.manifest else None
    if reference is None:
        return ReferenceDistribution()
    edges, histogram = reference.confidence_edges, reference.confidence_histogram
    return ReferenceDistribution.from_histogram(reference.class_shares, edges, histogram, CONFIDENCE_BUCKETS)
