"""Grafana dashboards as code; `python -m deploy.generate` writes them as JSON."""

from deploy.grafana import brand, incident, pipeline

DASHBOARDS = (brand.dashboard, incident.dashboard, pipeline.dashboard)

__all__ = ["DASHBOARDS"]
