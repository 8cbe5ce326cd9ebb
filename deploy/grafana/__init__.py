"""Dashboards for Grafana, described in Python and written as JSON by `python -m deploy.grafana.write`."""
