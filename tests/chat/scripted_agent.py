"""A child process that plays an agent by the book it is given: `python scripted_agent.py FOLDER`.

FOLDER/steps.json holds the lives of the agent, one list of steps for each time it is started; a step is a list of
a verb and its arguments. Every line received is appended to FOLDER/received. When the steps of a life are done,
the input is read to its end.
"""

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:  # noqa: PLR0912  (one branch a verb)
    folder = Path(sys.argv[1])
    lives = json.loads((folder / "steps.json").read_text(encoding="utf-8"))
    life = len(list(folder.glob("life-*")))
    (folder / f"life-{life}").touch()
    steps = lives[life]
    request_id: object = None
    with (folder / "received").open("a", encoding="utf-8", buffering=1) as log:
        for verb, *arguments in steps:
            match verb:
                case "await":
                    while True:
                        line = sys.stdin.readline()
                        if not line:
                            return
                        log.write(line)
                        message = json.loads(line)
                        if message.get("method", "answer") == arguments[0]:
                            request_id = message.get("id", request_id)
                            break
                case "result":
                    send({"id": request_id, "result": arguments[0]})
                case "error":
                    send({"id": request_id, "error": arguments[0]})
                case "update":
                    send({"method": "session/update", "params": {"sessionId": "s-1", "update": arguments[0]}})
                case "request":
                    send({"id": "from-agent", "method": arguments[0], "params": arguments[1]})
                case "raw":
                    sys.stdout.buffer.write(arguments[0].encode("utf-8", "surrogateescape"))
                    sys.stdout.flush()
                case "stderr":
                    sys.stderr.write(arguments[0])
                    sys.stderr.flush()
                case "kill-self":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exit":
                    sys.exit(arguments[0])
        for line in sys.stdin:
            log.write(line)


def send(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


main()
