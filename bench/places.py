"""Where the project lies: `ROOT / "var" / "bench"` holds what a run needs. No importer computes it again."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
