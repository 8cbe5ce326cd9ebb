"""The pipeline that a new customer starts with; docs/pipeline.md explains each number in it."""

HEALTH_CHECKS = (
    r"^(?:[A-Z]+ )?/(?:healthz?|_health|livez|readyz|ping|(?:actuator|q)/health)"
    r"(?:/(?:live|ready|liveness|readiness|startup))?/?(?:[?].*)?$"
)

DEFAULT = """{
  "steps": [
    {
      "step": "drop",
      "rule": "health-checks",
      "where": {
        "operation": {
          "regex": "HEALTH_CHECKS"
        }
      }
    },
    {"step": "redact"},
    {"step": "normalise"},
    {"step": "compose"},
    {"step": "rollup"},
    {"step": "exceptions"},
    {"step": "keep", "errors": true, "slower_than_us": 1000000, "percent": 1},
    {"step": "rollup_logs"},
    {"step": "keep_logs", "min_severity": "warn", "percent": 1}
  ]
}
""".replace("HEALTH_CHECKS", HEALTH_CHECKS)
