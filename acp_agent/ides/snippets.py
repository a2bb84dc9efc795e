"""What to paste into the configuration of editors whose configuration is a program. Pure.

Sources: CodeCompanion's page on adapters for ACP, agent-shell's own adapters.
"""

from __future__ import annotations

from collections.abc import Sequence

from acp_agent.ides.catalogue import Ide

_NEOVIM = """\
require("codecompanion").setup({{
  adapters = {{
    acp = {{
      [{name}] = function()
        local helpers = require("codecompanion.adapters.acp.helpers")
        return {{
          name = {name},
          formatted_name = "Antigravity",
          type = "acp",
          roles = {{ llm = "assistant", user = "user" }},
          opts = {{ vision = true }},
          commands = {{
            default = {{ {command} }},
          }},
          defaults = {{ mcpServers = {{}}, timeout = 20000 }},
          parameters = {{
            protocolVersion = 1,
            clientCapabilities = {{ fs = {{ readTextFile = true, writeTextFile = true }} }},
            clientInfo = {{ name = "CodeCompanion.nvim", version = "1.0.0" }},
          }},
          handlers = {{
            setup = function(self) return true end,
            -- `acp-agent login` keeps the key; there is nothing to do here.
            auth = function(self) return true end,
            form_messages = function(self, messages, capabilities)
              return helpers.form_messages(self, messages, capabilities)
            end,
            on_exit = function(self, code) end,
          }},
        }}
      end,
    }},
  }},
}})
"""

_EMACS = """\
(with-eval-after-load 'agent-shell
  (add-to-list
   'agent-shell-agent-configs
   (agent-shell-make-agent-config
    :identifier (intern {name})
    :mode-line-name "Antigravity"
    :buffer-name "Antigravity"
    :shell-prompt "Antigravity> "
    :shell-prompt-regexp "Antigravity> "
    :client-maker (lambda (buffer)
                    (agent-shell--make-acp-client
                     :command {program}
                     :command-params '({arguments})
                     :environment-variables (agent-shell-make-environment-variables :inherit-env t)
                     :context-buffer buffer))
    :install-instructions "Run acp-agent login in a terminal to keep an API key.")))
"""


def snippet(ide: Ide, name: str, command: Sequence[str]) -> str:
    """The text to paste for an IDE that is set up by hand."""
    words = [_quoted(word) for word in command]
    if ide.key == "neovim":
        return _NEOVIM.format(name=_quoted(name), command=", ".join(words))
    return _EMACS.format(name=_quoted(name), program=words[0], arguments=" ".join(words[1:]))


def _quoted(text: str) -> str:
    """A string of Lua and of Emacs Lisp: both have double quotes, and a backslash before what would end it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.replace("\n", "\\n").replace("\r", "\\r")
