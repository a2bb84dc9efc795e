"""The offline model: a deterministic model endpoint on loopback that needs no network and no key.

It is no language model. It answers with a statement of what it received, and does what directives in the
prompt ask for (`docs/offline-model.md`). `acp-agent --offline` runs it in the agent's own process; tests run
it in theirs and read from it what the model was really told.

Layers, each pure but the last: `model_request` and `reply` are values; `quoting`, `directives`, `forms` and
`script` read a prompt; `decide` and `tools` turn a request into a reply; `openai_dialect` and
`gemini_dialect` turn bytes into requests and replies into bytes; `server` moves the bytes.
"""

from acp_agent.offline.model_request import Image, Message, ModelRequest, ToolCall, UserTurn
from acp_agent.offline.server import MODEL_NAME, OfflineModel

__all__ = ["MODEL_NAME", "Image", "Message", "ModelRequest", "OfflineModel", "ToolCall", "UserTurn"]
