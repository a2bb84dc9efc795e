"""Serve the offline model on its own: `python -m acp_agent.offline`.

Prints one JSON line with the two base URLs and the model's name, then serves until standard input closes or an
interrupt.
"""

import json
import sys
from contextlib import suppress

from acp_agent.offline.server import MODEL_NAME, OfflineModel


def main() -> None:
    """Run until standard input ends or Ctrl-C."""
    with suppress(KeyboardInterrupt), OfflineModel(record=False) as model:
        urls = {"openai_url": model.openai_url, "gemini_url": model.gemini_url, "model": MODEL_NAME}
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        while sys.stdin.buffer.readline():
            pass


if __name__ == "__main__":
    main()
