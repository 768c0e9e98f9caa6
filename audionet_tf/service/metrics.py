"""Metrics of the service in Prometheus' text format."""

import prometheus_client as prometheus

REQUEST_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600)
JOINED = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
  """The metrics of one service, in a registry of their own."""

  def __init__(self):
    self.registry = prometheus.CollectorRegistry()
    prometheus.ProcessCollector(registry=self.registry)
    self.requests = prometheus.Counter(
      'audionet_requests', 'Requests answered.', ['route', 'method', 'status'], registry=self.registry
    )
    self.seconds = prometheus.Histogram(
      'audionet_request_seconds',
      'From the head of a request to the end of its response.',
      ['route'],
      buckets=REQUEST_SECONDS,
      registry=self.registry,
    )
    self.joined = prometheus.Histogram(
      'audionet_predict_joined', 'Requests in one batch.', buckets=JOINED, registry=self.registry
    )
    self.waited = prometheus.Histogram(
      'audionet_predict_waited_seconds',
      'How long the first request of a batch waited.',
      buckets=REQUEST_SECONDS,
      registry=self.registry,
    )
    self.captioned = prometheus.Counter(
      'audionet_captioned_seconds', 'Seconds of sound captioned.', registry=self.registry
    )
    self.captioning = prometheus.Gauge('audionet_captioning', 'Files being captioned.', registry=self.registry)

  def batch(self, requests, waited_seconds):
    """Counts a batch of predictions."""
    self.joined.observe(requests)
    self.waited.observe(waited_seconds)

  def request(self, route, method, status, seconds):
    """Counts a request. `route`: one of the service's own, never a path that a client made up."""
    self.requests.labels(route, method, str(status)).inc()
    self.seconds.labels(route).observe(seconds)

  def text(self):
    """(bytes, media type)."""
    return prometheus.generate_latest(self.registry), prometheus.CONTENT_TYPE_LATEST
